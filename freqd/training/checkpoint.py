"""Checkpoints of a training in one file: tensors and JSON together, so that no crash can part them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from freqd.embeddings import FloatMatrix, HistoryEntry
from freqd.storage.files import storage_error, write_atomic

MAX_SECONDS_UNSAVED = 20.0
"""A checkpoint is written at the first end of an epoch after this long."""
CHECKPOINT_SHARE = 0.05
"""Checkpoints after validations may take this share of the time; big tables are saved less often."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best validated state so far: final features (n_users, d), (n_items, d) and the model's further tensors."""

    epoch: int
    score: float
    users: FloatMatrix
    items: FloatMatrix
    extra: dict[str, FloatMatrix]


@dataclass
class Run:
    """Where a training stands, apart from parameters and optimizers.

    Attributes:
        epoch: how many are done.
        seconds: that they took.
        waited: validations since the best one.
    """

    epoch: int = 0
    seconds: float = 0.0
    waited: int = 0
    history: list[HistoryEntry] = field(default_factory=list)
    best: Best | None = None


class Resumable(Protocol):
    """What has tensors to save beside the ``Run``: parameters and optimizers."""

    def tensors(self) -> dict[str, Tensor]:
        """All that a later run needs to go on bit for bit, by name."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        ...


class Checkpoint:
    """The file of one training, written often enough to lose little and seldom enough to cost little.

    Args:
        place: the file, or an existing folder that gets ``training.safetensors``; None saves nothing.
        identity: digest of all that must agree for a checkpoint to be resumed.
    """

    def __init__(self, place: Path | None, identity: str, parts: Resumable) -> None:
        self._file = place / "training.safetensors" if place is not None and place.is_dir() else place
        self._identity = identity
        self._parts = parts
        self._saved_at = -math.inf
        self._cost = 0.0

    def resume(self) -> Run:
        """Take up the file; a fresh ``Run`` if there is none, it is damaged, or it belongs to another training."""
        read = _read(self._file) if self._file is not None else None
        if read is None or read[1].get("identity") != self._identity:
            return Run()
        tensors, state = read
        self._parts.restore(_below("parts.", tensors))
        best = {name: tensor.numpy() for name, tensor in _below("best.", tensors).items()}
        best_extra = {name: tensor.numpy() for name, tensor in _below("best_extra.", tensors).items()}
        return Run(
            state["epoch"],
            state["seconds"],
            state["waited"],
            state["history"],
            Best(state["best_epoch"], state["best_score"], **best, extra=best_extra),
        )

    def save_if_due(self, run: Run, *, after_validation: bool) -> None:
        """Write the file if it is time.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        if self._file is None or run.best is None:
            return
        now = time.perf_counter()
        age = now - self._saved_at
        if age < MAX_SECONDS_UNSAVED and not (after_validation and age * CHECKPOINT_SHARE >= self._cost):
            return
        best = {"best.users": run.best.users, "best.items": run.best.items}
        best |= {f"best_extra.{name}": value for name, value in run.best.extra.items()}
        tensors = {f"parts.{name}": tensor for name, tensor in self._parts.tensors().items()}
        tensors |= {name: torch.from_numpy(value) for name, value in best.items()}
        state = {
            "identity": self._identity,
            "epoch": run.epoch,
            "seconds": run.seconds,
            "waited": run.waited,
            "history": run.history,
            "best_epoch": run.best.epoch,
            "best_score": run.best.score,
        }
        _write(self._file, tensors, state)
        self._saved_at = time.perf_counter()
        self._cost = self._saved_at - now


def _write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """A safetensors file with ``tensors``, and ``state`` as JSON in its header."""
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"state": json.dumps(state)})
    try:
        write_atomic(path, content)
    except OSError as error:
        raise storage_error(error, path.parent) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What ``_write`` wrote, or None if there is no file or it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
