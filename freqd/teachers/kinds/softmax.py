"""Matrix factorisation by a softmax over many negatives, for each number of factors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel, Trial
from freqd.teachers.kinds._budget import work_folder
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import teacher
from freqd.training.environment import TrainingEnvironment

if TYPE_CHECKING:
    from freqd.teachers.softmax import SoftmaxGrid

NEGATIVES = 512
STEPS, LEAST_EPOCHS = 6_000, 16
"""On much data so many steps are enough, but no fewer epochs. Few factors need more of both, see docs/decisions.md."""


def refit_softmax(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The judged size, step size and L2, up to the best epoch."""
    from freqd.teachers import softmax  # late, as below

    return softmax.refit_softmax(split, _grid(split), judged, environment)


@teacher("softmax", refit=refit_softmax)
def train_softmax(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The best size on validation; step size and L2 are those of ``freqd.teachers.softmax``, not of ``teacher``."""
    from freqd.teachers import softmax  # late: torch is not needed for the other kinds

    folder = work_folder(environment)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(set(config.factors))
    grid = _grid(split)
    limit = None if config.max_seconds is None else config.max_seconds / len(sizes)
    grid = replace(grid, optim=replace(grid.optim, max_seconds=limit))
    best: TrainedModel | None = None
    trials: list[Trial] = []
    for number, factors in enumerate(sizes):
        own = environment.piece(number, len(sizes), f"{factors} factors: ")
        model = softmax.train_softmax(split, factors, grid, replace(own, checkpoint=folder))
        trials += model.info["trials"]
        if best is None or model.info["valid_ndcg_at_10"] > best.info["valid_ndcg_at_10"]:
            best = model
    assert best is not None  # there is a size
    best.info["trials"] = trials
    best.info["seconds"] = sum(trial["seconds"] for trial in trials)
    return best


def _grid(split: Split) -> SoftmaxGrid:
    """What is trained on these data."""
    from freqd.teachers.softmax import SoftmaxGrid

    plain = SoftmaxGrid()
    most = plain.optim.epochs
    epochs = min(max(STEPS * plain.optim.batch_size // max(len(split.train), 1), LEAST_EPOCHS), most)
    return replace(plain, negatives=NEGATIVES, optim=replace(plain.optim, epochs=epochs))
