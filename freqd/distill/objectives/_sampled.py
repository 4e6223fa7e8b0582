"""What the feature terms share: they are means over rows, so a part of some of the batches estimates them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.objectives.base import Objective
from freqd.embeddings import Embeddings
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class SampledOptions(Settings):
    """Options of every term that looks at parts of batches."""

    sample: int = Field(
        128, ge=1, description="Interactions of a batch that the term samples: a user and two items of each."
    )
    every: int = Field(4, ge=1, description="Steps from one sample to the next; each counts for all of them.")


class SampledObjective(Objective):
    """A term that is computed on ``sample`` interactions of every ``every``-th batch, and is 0 in the steps between."""

    needs_features = True
    steps = 0

    def __init__(self, options: Any, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        self._nothing = torch.zeros((), device=context.device)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Look at the first batch of the epoch."""
        self.steps = 0

    def loss(self, view: View, batch: Batch) -> Tensor:
        """``every`` times the loss of a part of the batch, for it stands for as many steps."""
        self.steps += 1
        if (self.steps - 1) % self.options.every:
            return self._nothing
        few = slice(self.options.sample)  # a batch is in random order
        part = Batch(batch.users[few], batch.positives[few], batch.negatives[few], batch.rank_users)
        return self.part_loss(view, part) * float(self.options.every)

    @abstractmethod
    def part_loss(self, view: View, part: Batch) -> Tensor:
        """The term's mean over a part of a batch, a scalar, without its weight."""
