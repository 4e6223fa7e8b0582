"""ALS: searched on validation, or gone on from the teacher of an earlier run."""

from __future__ import annotations

import zlib
from dataclasses import replace

from scipy import sparse

from freqd.config import StartConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, StartInfo, TrainedModel
from freqd.errors import DivergedError
from freqd.evaluate.validation import Validation
from freqd.storage.files import text_digest
from freqd.teachers.als import AlsHyperparameters, AlsTrial, als_sweeps, solve_new_rows
from freqd.teachers.als_search import AlsGrid, search_als
from freqd.teachers.als_warm_start import continue_als
from freqd.teachers.kinds._budget import budget_warnings, work_folder
from freqd.teachers.previous_model import PreviousModel, als_point, warm_start_info
from freqd.teachers.registry import teacher
from freqd.teachers.search import SAMPLE_USERS
from freqd.teachers.trajectory import als_trajectory
from freqd.training.environment import TrainingEnvironment

ALS_PATIENCE = 2
"""Validations, two sweeps apart, without a better value: ALS that has passed its best does not come back to it."""


def continue_teacher(
    split: Split, config: TeacherConfig, environment: TrainingEnvironment, previous: PreviousModel, start: StartConfig
) -> TrainedModel:
    """A warm start from the previous teacher; the winner of a search if it is worse than ``start.tolerance`` allows.

    What it is held against is the previous teacher's own validation NDCG@10: of other interactions, but the best there
    is to say, without a search, that its setting has become a bad one.
    """
    point = als_point(previous.model, config)
    every = Validation.of(split, limit=None, seed=environment.seed)
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    trial = continue_als(sample, previous, point, start.sweeps, environment.piece(0, 2, ""))
    assert trial.best is not None  # the previous teacher itself, at least
    before, ndcg = float(previous.model.info["valid_ndcg_at_10"]), every(trial.best)
    how: StartInfo = {
        "way": "continued",
        "valid_ndcg_at_10_before": before,
        "valid_ndcg_at_10": ndcg,
        "sweeps": trial.sweeps,
    }
    info = _als_info(trial, ndcg, len(sample.users))
    info["start"] = warm_start_info(previous, how)
    model = TrainedModel(trial.best, history=trial.history, info=info)
    if ndcg >= (1.0 - start.tolerance) * before:
        return model
    found = train_als(split, config, environment)
    best = found if found.info["valid_ndcg_at_10"] > ndcg else model
    way = "searched" if best is found else "continued after a search"
    best.info.update(
        ModelInfo(
            trials=[*model.info["trials"], *found.info["trials"]],
            seconds=model.info["seconds"] + found.info["seconds"],
            budget_hit=found.info["budget_hit"],
            not_tried=found.info["not_tried"],
            warnings=found.info["warnings"],
            start=warm_start_info(previous, how | {"way": way}),
        )
    )
    return best


def refit_als(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The setting of the judged teacher and as many sweeps as were best, from where it had started.

    Raises:
        DivergedError: the numbers are no longer finite.
    """
    info, train = judged.info, split.train.matrix()
    point = AlsHyperparameters(info["factors"], info["regularization"], info["alpha"])
    tables = None
    if previous is not None and info["start"]["way"] != "searched":
        moved = previous.move(previous.model.features)
        tables = solve_new_rows(train, moved, point, previous.users.new, previous.items.new)
    sweeps = info["best_epoch"]
    for sweep in range(1, sweeps + 1):
        tables = als_sweeps(train, tables, point, 1, seed=environment.seed, engine=environment.engine)
        if tables is None:
            raise DivergedError(f"{point.label()} diverged in sweep {sweep}", "raise teacher.regularization")
        environment.progress(sweep / sweeps, f"{point.label()}: sweep {sweep} of {sweeps}")
    assert tables is not None  # a search has at least one sweep, a warm start its tables
    return TrainedModel(tables)


@teacher("als", resume=continue_teacher, keeps_trajectory=True, refit=refit_als)
def train_als(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The best of the settings that are asked for, within ``search_seconds``."""
    every = Validation.of(split, limit=None, seed=environment.seed)
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    grid = AlsGrid(
        factors=config.factors,
        regularization=config.regularization,
        alpha=config.alpha,
        iterations=config.iterations,
        patience=min(config.patience, ALS_PATIENCE),
        budget_seconds=config.search_seconds,
    )
    folder = work_folder(environment) / f"als-{_pattern_digest(every.train, every.valid)}"
    found = search_als(sample, grid, replace(environment, checkpoint=folder))
    info = _als_info(found.best, every(found.features), len(sample.users))
    info |= {
        "trials": found.trials,
        "seconds": found.seconds,
        "budget_hit": found.budget_hit,
        "not_tried": found.not_tried,
        "warnings": budget_warnings(found.budget_hit, found.not_tried, config),
    }
    trajectory = None
    if config.trajectory_points:
        trajectory = als_trajectory(
            every.train, found.features, found.best, config.trajectory_points, environment.progress
        )
    return TrainedModel(found.features, history=found.best.history, info=info, trajectory=trajectory)


def _als_info(trial: AlsTrial, ndcg: float, search_users: int) -> ModelInfo:
    """What an ALS teacher tells of itself; ``ndcg`` is over all validation users."""
    return {
        "kind": "als",
        "factors": trial.point.factors,
        "regularization": trial.point.regularization,
        "alpha": trial.point.alpha,
        "best_epoch": trial.best_sweep(),
        "trials": [trial.row(finished=True)],
        "valid_ndcg_at_10": ndcg,
        "search_users": search_users,
        "seconds": trial.seconds,
        "budget_hit": False,
        "not_tried": 0,
        "warnings": [],
    }


def _pattern_digest(train: sparse.csr_array, valid: sparse.csr_array) -> str:
    """Short name of the data, so that trials of other data in the same folder are not taken up."""
    checks = (zlib.crc32(array) for part in (train, valid) for array in (part.indptr, part.indices))
    return text_digest(str(train.shape), *map(str, checks))[:12]
