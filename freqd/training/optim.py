"""How a training by gradients goes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from freqd.embeddings import ModelInfo


@dataclass(frozen=True)
class OptimConfig:
    """Optimisation of one training; its fields have the names of the settings that they come from.

    Attributes:
        epochs: at the most.
        batch_size: interactions a step.
        learning_rate: of Adam, at the start.
        decay: share of the training, at its end, over which the step size falls to 0 in a straight line; 0 keeps it.
        weight_decay: factor of the L2 of the batch's raw rows; the terms' own parameters are not decayed.
        eval_every: epochs between two validations.
        patience: validations without a better NDCG@10 before training stops.
        max_seconds: time budget over all resumed parts; the best so far is kept.
        base_weight: factor of the BPR loss; 0 leaves it out.
        stop_after: ends the training after so many of ``epochs``, without a validation: its last state counts. None: the best
            validated state does.
    """

    epochs: int = 100
    batch_size: int = 2048
    learning_rate: float = 1e-3
    decay: float = 0.0
    weight_decay: float = 1e-5
    eval_every: int = 2
    patience: int = 5
    max_seconds: float | None = None
    base_weight: float = 1.0
    stop_after: int | None = None

    @classmethod
    def of(cls, settings: object, **changes: float | None) -> Self:
        """What ``settings`` say under the same names, with ``changes``; the rest is left at its default."""
        own = {field.name: getattr(settings, field.name) for field in fields(cls) if hasattr(settings, field.name)}
        return cls(**own | changes)

    def again(self, info: ModelInfo) -> Self:
        """The very training that ``info`` tells of, up to its best epoch: for other data, with nothing to validate on.

        One that the clock has stopped had small steps by then; the step size then falls over the epochs that it had.
        """
        planned = info["epochs"] if info["stopped"] == "time" else info["planned_epochs"]
        return replace(
            self,
            epochs=max(planned, 1),
            learning_rate=info["learning_rate"],
            weight_decay=info["weight_decay"],
            max_seconds=None,
            stop_after=info["best_epoch"],
        )

    def step_size(self, epochs: int, seconds: float) -> float:
        """The step size of the next epoch, after so many of them and so much time.

        How far the training is: the share of the epochs, or the square of that of the time if it is ahead by more than an
        epoch. So a training that the clock will stop has small steps too by then. Where all epochs can be done the square
        is never ahead, so that the clock does not touch what such a training learns.
        """
        if self.decay <= 0:
            return self.learning_rate
        done = epochs / self.epochs
        if self.max_seconds is not None:
            by_clock = min(seconds / self.max_seconds, 1.0) ** 2
            done = by_clock if by_clock > done + 1 / self.epochs else done
        return self.learning_rate * min(1.0, (1.0 - done) / self.decay)
