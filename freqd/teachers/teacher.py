"""The teacher of a run, whichever kind it is: ALS, BPR, LightGCN or features that the user brings."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from scipy import sparse

from freqd.config import StartConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, StartInfo, TrainedModel, Trial
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.storage.files import text_digest
from freqd.teachers.als import AlsTrial
from freqd.teachers.als_search import AlsGrid, search_als
from freqd.teachers.als_warm_start import continue_als
from freqd.teachers.earlier import Previous, als_point, carried
from freqd.teachers.external import features_digest, load_features
from freqd.teachers.trajectory import Capture, als_trajectory
from freqd.training.environment import TrainingEnvironment

SAMPLE_USERS = 3000
"""Users whose validation NDCG@10 steers the ALS search; a full ranking of more would take longer than the training."""

ALS_PATIENCE = 2
"""Validations, two sweeps apart, without a better value: ALS that has passed its best does not come back to it."""

START = StartConfig()
"""How a warm start from a previous teacher goes, by default."""


def train_teacher(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    previous: Previous | None = None,
    start: StartConfig = START,
) -> TrainedModel:
    """Train, or read, the teacher; where several values are given, the best on validation within ``search_seconds``.

    An ALS teacher with a ``previous`` one starts from there instead, and is searched for only where that is worse.

    Args:
        split: trained on its train split, chosen by its validation split; the test split is not used.
        environment: its ``device`` is that of bpr and lightgcn, for ALS runs on the CPU; its ``checkpoint`` is a folder for
            unfinished work, made if missing, from which a killed run goes on.
        previous: ALS: the teacher of an earlier run; the other kinds do not look at it.
        start: how a warm start from it goes.

    Returns:
        The model. Its ``info`` has: kind, factors, trials (one row a setting that was tried), valid_ndcg_at_10 (over
        all validation users), seconds, budget_hit (the time budget cut the search short), not_tried, warnings; ALS:
        also regularization, alpha, best_epoch (sweeps), and ``start`` if there was a previous one (way: continued or
        searched; its validation NDCG@10, before and after the warm start; rows); features: also ``brought``, the counts of
        matched ids.

    Raises:
        InputError: the validation split is empty, external embeddings do not fit, no setting gave a usable model, or the
            previous teacher's setting is not among those of ``config``.
    """
    if len(split.valid) == 0:
        raise InputError(
            "the validation split is empty, so no teacher can be chosen",
            "give a validation file (--valid), or raise data.valid_fraction",
        )
    if config.kind == "features":
        return _brought_teacher(split, config)
    if config.kind == "als":
        if previous is not None:
            return _continued_teacher(split, config, environment, previous, start)
        return _als_teacher(split, config, environment)
    return _gradient_teacher(split, config, environment)


def source_digest(config: TeacherConfig) -> str:
    """Digest of the files that the teacher is read from; empty for teachers that are trained here.

    Raises:
        InputError: the files are missing.
    """
    return features_digest(config.features) if config.features is not None else ""


def _als_teacher(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
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
    folder = _folder(environment) / f"als-{_pattern_digest(every.train, every.valid)}"
    found = search_als(sample, grid, replace(environment, checkpoint=folder))
    info = _als_info(found.best, every(found.features), len(sample.users))
    info |= {
        "trials": found.trials,
        "seconds": found.seconds,
        "budget_hit": found.budget_hit,
        "not_tried": found.not_tried,
        "warnings": _budget_warnings(found.budget_hit, found.not_tried, config),
    }
    trajectory = None
    if config.trajectory_points:
        trajectory = als_trajectory(
            every.train, found.features, found.best, config.trajectory_points, environment.progress
        )
    return TrainedModel(found.features, history=found.best.history, info=info, trajectory=trajectory)


def _continued_teacher(
    split: Split, config: TeacherConfig, environment: TrainingEnvironment, previous: Previous, start: StartConfig
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
    info["start"] = carried(previous, how)
    model = TrainedModel(trial.best, history=trial.history, info=info)
    if ndcg >= (1.0 - start.tolerance) * before:
        return model
    found = _als_teacher(split, config, environment)
    best = found if found.info["valid_ndcg_at_10"] > ndcg else model
    way = "searched" if best is found else "continued after a search"
    best.info.update(
        ModelInfo(
            trials=[*model.info["trials"], *found.info["trials"]],
            seconds=model.info["seconds"] + found.info["seconds"],
            budget_hit=found.info["budget_hit"],
            not_tried=found.info["not_tried"],
            warnings=found.info["warnings"],
            start=carried(previous, how | {"way": way}),
        )
    )
    return best


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


def _folder(environment: TrainingEnvironment) -> Path:
    """The folder for unfinished work.

    Raises:
        ValueError: there is none.
    """
    if environment.checkpoint is None:
        raise ValueError("a teacher keeps its unfinished work in environment.checkpoint, and there is none")
    return environment.checkpoint


def _gradient_teacher(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train BPR or LightGCN for each number of factors, smallest first, while the budget lasts."""
    from freqd.teachers.gradient import train_by_gradient  # late: torch is not needed for the other kinds

    folder = _folder(environment)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(set(config.factors))
    best: TrainedModel | None = None
    best_way: Capture | None = None
    trials: list[Trial] = []
    elapsed, cut = 0.0, False
    for number, factors in enumerate(sizes):
        expected = elapsed + trials[-1]["seconds"] * factors / trials[-1]["factors"] if trials else 0.0
        if config.search_seconds is not None and expected > config.search_seconds:
            break
        limit = None if config.max_seconds is None else (config.max_seconds - elapsed) / (len(sizes) - number)
        if trials and limit is not None and limit <= 0:
            break
        way = None
        if config.trajectory_points:
            where, train = folder / f"{config.kind}-{factors}-way", split.train.matrix()
            way = Capture(where, train, points=config.trajectory_points, every=config.eval_every)
        own = replace(
            environment.piece(number, len(sizes), f"{factors} factors: "),
            checkpoint=folder / f"{config.kind}-{factors}.safetensors",
            observe=way,
        )
        model = train_by_gradient(split, config.model_copy(update={"max_seconds": limit}), factors, own)
        seconds = model.info["seconds"]  # of a resumed training, that of earlier runs included
        elapsed += seconds
        ndcg = model.info["valid_ndcg_at_10"]
        trials.append({"factors": factors, "valid_ndcg_at_10": ndcg, "seconds": round(seconds, 3)})
        cut = cut or model.info["stopped"] == "time"
        if best is None or ndcg > best.info["valid_ndcg_at_10"]:
            best, best_way = model, way
    assert best is not None  # the first size is always trained
    not_tried = len(sizes) - len(trials)
    info: ModelInfo = best.info | {
        "kind": config.kind,
        "factors": best.features.dim,
        "trials": trials,
        "seconds": elapsed,
        "budget_hit": cut or not_tried > 0,
        "not_tried": not_tried,
        "warnings": [
            *best.info.get("warnings", []),
            *_budget_warnings(not_tried > 0, not_tried, config),
            *_cut_warnings(cut, config),
        ],
    }
    trajectory = best_way.trajectory(best.info["best_epoch"], best.features) if best_way else None
    return TrainedModel(best.features, best.history, info, best.extra, trajectory)


def _brought_teacher(split: Split, config: TeacherConfig) -> TrainedModel:
    assert config.features is not None  # TeacherConfig refuses kind 'features' without it
    start = perf_counter()
    brought = load_features(config.features, split.user_ids, split.item_ids)
    ndcg = Validation.of(split, limit=None, seed=0)(brought.features)
    info: ModelInfo = {
        "kind": "features",
        "factors": brought.features.dim,
        "trials": [],
        "valid_ndcg_at_10": ndcg,
        "seconds": perf_counter() - start,
        "budget_hit": False,
        "not_tried": 0,
        "brought": {side: brought.info[side] for side in ("users", "items")},
        "warnings": brought.info["warnings"],
    }
    return TrainedModel(brought.features, info=info)


def _budget_warnings(hit: bool, not_tried: int, config: TeacherConfig) -> list[str]:
    if not hit:
        return []
    left = f"{not_tried} settings were not tried" if not_tried else "not every good setting was trained to the end"
    return [
        f"the search of the teacher stopped at its budget of {config.search_seconds or config.max_seconds or 0:g} s: {left}; "
        "raise or leave out the time budget (budget_minutes, teacher.search_seconds), or give fewer values"
    ]


def _cut_warnings(cut: bool, config: TeacherConfig) -> list[str]:
    if not cut:
        return []
    return [
        f"a training of the teacher was stopped by its time budget of {config.max_seconds or 0:g} s while it may still have "
        "improved; raise teacher.max_seconds, or budget_minutes if that is what set it"
    ]


def _pattern_digest(train: sparse.csr_array, valid: sparse.csr_array) -> str:
    """Short name of the data, so that trials of other data in the same folder are not taken up."""
    checks = (zlib.crc32(array) for part in (train, valid) for array in (part.indptr, part.indices))
    return text_digest(str(train.shape), *map(str, checks))[:12]
