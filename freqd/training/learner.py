"""What an epoch of a training is: one model with the terms of its loss, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.training.device import resolve
from freqd.training.interfaces import LossTerm, Trainable
from freqd.training.optim import OptimConfig
from freqd.training.parameters import Parameters
from freqd.training.sampling import Batch, Sampler


class Learner(Protocol):
    """What the loop trains, epoch by epoch."""

    @property
    def device(self) -> str:
        """Where it is trained."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """Factors of all parts of the loss by name, that of BPR as ``bpr``."""
        ...

    def identity(self) -> str:
        """Digest of all that a checkpoint must agree with to be resumed; to be asked before the first step."""
        ...

    def epoch(self, epoch: int, step_size: float) -> dict[str, float]:
        """One pass over the interactions with this step size; the mean loss by name. Depends on the seed and ``epoch`` only."""
        ...

    def features(self) -> Embeddings:
        """Present final features; may share memory with what is trained."""
        ...

    def extra(self) -> dict[str, FloatMatrix]:
        """Further tensors of the trained model; as ``features``."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that a later run needs to go on bit for bit, by name."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        ...


class ModelLearner:
    """A model, the terms of its loss and their optimizers.

    Args:
        train: (n_users, n_items) binary CSR with sorted indices.
        device: auto, cpu, cuda or cuda:N.
        seed: of every random choice.
    """

    def __init__(
        self,
        model: Trainable,
        terms: Sequence[LossTerm],
        train: sparse.csr_array,
        optim: OptimConfig,
        device: str,
        seed: int,
    ) -> None:
        self.model, self.terms, self.optim, self.seed = model, terms, optim, seed
        self._device = resolve(device)
        self._train = train
        self.parameters = Parameters(model, terms, self._device, optim.learning_rate)
        self.sampler = Sampler(train, optim.batch_size, self._device)
        self._batches: Iterator[Batch] = iter(())
        self._sums: Tensor | None = None

    @property
    def device(self) -> str:
        """As ``Learner``."""
        return str(self._device)

    @property
    def weights(self) -> dict[str, float]:
        """As ``Learner``."""
        return {"bpr": self.optim.base_weight} | {term.name: term.weight for term in self.terms}

    def identity(self) -> str:
        """As ``Learner``."""
        return self.parameters.identity(self._train, self.optim, self.seed)

    def epoch(self, epoch: int, step_size: float) -> dict[str, float]:
        """As ``Learner``. The only wait for the device is at the end."""
        self.begin(epoch, step_size)
        self.advance(self.sampler.n_steps)
        return self.losses()

    def begin(self, epoch: int, step_size: float) -> None:
        """Prepare an epoch."""
        self.parameters.set_step_size(step_size)
        with self._quick():
            self.model.tables()  # brings all rows up to date at the same point of every epoch, whoever else may read them
            for position, term in enumerate(self.terms):
                term.begin_epoch(epoch, self.model.features(), np.random.default_rng([self.seed, epoch, 1 + position]))
        self._batches, self._sums = self.sampler.epoch(self.seed, epoch), None

    def advance(self, steps: int) -> None:
        """So many steps of the epoch."""
        model, terms, optim = self.model, self.terms, self.optim
        with self._quick():
            for batch in islice(self._batches, steps):
                view = model.view()
                losses = [term.loss(view, batch) for term in terms]
                learning = [term.weight * loss for term, loss in zip(terms, losses, strict=True) if loss.requires_grad]
                others = sum(learning[1:], learning[0]) if learning else torch.zeros(())
                bpr = view.backward(batch, others, optim.base_weight, optim.weight_decay)
                self.parameters.step()
                values = [bpr, *(loss.detach() for loss in losses)]
                step = torch.stack(values if optim.base_weight > 0 else values[1:])
                self._sums = step if self._sums is None else self._sums + step

    def losses(self) -> dict[str, float]:
        """Means over the steps of the epoch."""
        names = (["bpr"] if self.optim.base_weight > 0 else []) + [term.name for term in self.terms]
        if self._sums is None:
            return dict.fromkeys(names, 0.0)
        return dict(zip(names, (self._sums / self.sampler.n_steps).tolist(), strict=True))

    def features(self) -> Embeddings:
        """As ``Learner``."""
        return self.model.features()

    def extra(self) -> dict[str, FloatMatrix]:
        """As ``Learner``."""
        return self.model.extra()

    def tensors(self) -> dict[str, Tensor]:
        """As ``Learner``."""
        return self.parameters.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """As ``Learner``."""
        self.parameters.restore(tensors)

    @contextmanager
    def _quick(self) -> Iterator[None]:
        """Small steps on one CPU thread; dense float32 products of a GPU in TF32 (10 bits)."""
        threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        torch.set_num_threads(threads if self.model.parallel else 1)
        torch.set_float32_matmul_precision("high" if self._device.type == "cuda" else precision)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
