"""All that one training changes: the model's parameters, those of the terms, and their optimizers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from freqd.storage.files import text_digest
from freqd.training.adam import DenseAdam
from freqd.training.interfaces import LossTerm, Trainable
from freqd.training.optim import OptimConfig


class Parameters:
    """Model and terms of one training with their optimizers, as one thing to step, save and restore."""

    def __init__(self, model: Trainable, terms: Sequence[LossTerm], device: torch.device, learning_rate: float) -> None:
        self._model = model
        self._terms = terms
        self._optimizer = model.prepare(device, learning_rate)
        self._parameters = [parameter for term in terms for parameter in term.parameters()]
        self._term_optimizer = DenseAdam(self._parameters, learning_rate)

    def set_step_size(self, learning_rate: float) -> None:
        """Use it from the next step on."""
        self._optimizer.set_step_size(learning_rate)
        self._term_optimizer.set_step_size(learning_rate)

    def step(self) -> None:
        """One step of both optimizers."""
        self._optimizer.step()
        self._term_optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """For ``Checkpoint``."""
        groups = {
            **self._own(),
            "optimizer": self._optimizer.state(),
            "term_optimizer": self._term_optimizer.state(),
        }
        return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """For ``Checkpoint``."""
        groups: dict[str, dict[str, Tensor]] = {"optimizer": {}, "term_optimizer": {}}
        for key, tensor in tensors.items():
            group, name = key.split("/", 1)
            groups.setdefault(group, {})[name] = tensor
        with torch.no_grad():
            for group, named in self._own().items():
                for name, live in named.items():
                    live.copy_(groups[group][name])
        self._optimizer.load(groups["optimizer"])
        self._term_optimizer.load(groups["term_optimizer"])

    def identity(self, train: sparse.csr_array, optim: OptimConfig, seed: int) -> str:
        """Digest of all that a checkpoint must agree with to be resumed; to be called before the first step."""
        # Epochs beyond those of the checkpoint change nothing before it, but where they set the step sizes.
        later = {"max_seconds", "patience"} | (set() if optim.decay > 0 else {"epochs"})
        steps = {key: value for key, value in asdict(optim).items() if key not in later}
        return text_digest(
            type(self._model).__name__,
            str(self._model.shape),
            str(sorted(self.tensors())),
            str([(name, _digest(table.detach().cpu().numpy())) for name, table in self._model.tables().items()]),
            str([(term.name, term.weight, [tuple(p.shape) for p in term.parameters()]) for term in self._terms]),
            f"{train.shape} {_digest(train.indptr)} {_digest(train.indices)}",
            str(steps),
            str(seed),
        )

    def _own(self) -> dict[str, Mapping[str, Tensor]]:
        """The live tensors beside the optimizers'."""
        states = [(f"{n}.{name}", kept) for n, term in enumerate(self._terms) for name, kept in term.state().items()]
        return {
            "model": self._model.tables(),
            "term": {str(n): parameter for n, parameter in enumerate(self._parameters)},
            "term_state": dict(states),
        }


def _digest(array: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
