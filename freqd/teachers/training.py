"""The teacher of a run, of whichever kind it is."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from freqd.config import StartConfig, TeacherConfig
from freqd.config.base import parse_options
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.errors import InputError, RefitError
from freqd.evaluate.validation import Validation
from freqd.teachers.external import features_digest
from freqd.teachers.external_lists import lists_digest
from freqd.teachers.kinds import REGISTRY
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import TeacherKind
from freqd.training.environment import TrainingEnvironment

START = StartConfig()
"""How a warm start from a previous teacher goes, by default."""


def train_teacher(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    previous: PreviousModel | None = None,
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
        matched ids; one that is no table: also ``table_valid_ndcg_at_10`` of the table that comes near it, its features.

    Raises:
        InputError: the validation split is empty, external embeddings do not fit, no setting gave a usable model, or the
            previous teacher's setting is not among those of ``config``.
    """
    if len(split.valid) == 0:
        raise InputError(
            "the validation split is empty, so no teacher can be chosen",
            "give a validation file (--valid), or raise data.valid_fraction",
        )
    kind, began = check_teacher(config), perf_counter()
    if previous is not None and kind.resume is not None:
        model = kind.resume(split, config, environment, previous, start)
    else:
        model = kind.train(split, config, environment)
    _require_fit(model, split, config)
    known = ModelInfo(
        kind=config.kind,
        factors=model.features.dim,
        trials=[],
        seconds=perf_counter() - began,
        budget_hit=False,
        not_tried=0,
        warnings=[],
    )
    every = Validation.of(split, limit=None, seed=environment.seed)
    if "valid_ndcg_at_10" not in model.info:
        known["valid_ndcg_at_10"] = every(model.scorer)
    if model.full is not None:
        known["table_valid_ndcg_at_10"] = every(model.features)
    for name, value in known.items():
        model.info.setdefault(name, value)  # type: ignore[misc]
    return model


def refit_teacher(
    split: Split,
    config: TeacherConfig,
    judged: TrainedModel,
    environment: TrainingEnvironment,
    previous: PreviousModel | None = None,
) -> TrainedModel:
    """The judged teacher once more, of all interactions, with what was chosen for it; nothing is validated.

    Args:
        split: of ``freqd.data.everything``.
        config: the settings of the judged teacher.
        judged: its ``info`` says what was chosen.
        environment: its ``checkpoint`` is a folder for unfinished work, made if missing.
        previous: the earlier teacher that the judged one went on from, if it did.

    Raises:
        RefitError: teachers of this kind cannot be trained again.
        DivergedError: the numbers are no longer finite.
    """
    kind = check_teacher(config)
    if kind.refit is None:
        raise RefitError(
            f"a teacher of kind {config.kind!r} cannot be refitted: the plugin that provides it has no refit"
        )
    if environment.checkpoint is not None:
        environment.checkpoint.mkdir(parents=True, exist_ok=True)
    model = kind.refit(split, config, environment, judged, previous)
    _require_fit(model, split, config)
    model.info.update(ModelInfo(kind=config.kind, factors=model.features.dim, refit=True))
    return model


def check_teacher(config: TeacherConfig) -> TeacherKind:
    """The kind of teacher that the settings ask for, its options checked, before anything expensive.

    Raises:
        InputError: an unknown kind, option or value; the message names what there is.
    """
    kind = REGISTRY.get(config.kind)
    if kind is None:
        raise InputError(
            f"teacher.kind: there is no teacher of kind {config.kind!r}",
            f"use one of {', '.join(sorted(REGISTRY))}, or name the file of your own with --plugin",
        )
    parse_options(kind.options, config.options, "teacher.options", config.kind)
    if config.trajectory_points and not kind.keeps_trajectory:
        keeping = [name for name, entry in sorted(REGISTRY.entries.items()) if entry.value.keeps_trajectory]
        raise InputError(
            f"teacher.trajectory_points: a teacher of kind {config.kind!r} keeps no rankings of its training",
            f"set it to 0, or teacher.kind to one of {', '.join(keeping)}",
        )
    return kind


def _require_fit(model: TrainedModel, split: Split, config: TeacherConfig) -> None:
    """See that the model is one of the split's users and items; those of plugins may be anything.

    Raises:
        InputError: it is not, or it is not finite.
    """
    features, scorer = model.features, model.scorer
    wanted = (split.n_users, split.n_items)
    shape = next((s for s in ((m.n_users, m.n_items) for m in (features, scorer)) if s != wanted), wanted)
    if shape != wanted or not (np.isfinite(features.users).all() and np.isfinite(features.items).all()):
        what = f"has {shape[0]} users and {shape[1]} items" if shape != wanted else "has embeddings that are not finite"
        raise InputError(
            f"the teacher of kind {config.kind!r} {what}, and the split {wanted[0]} users and {wanted[1]} items",
            "a teacher gives each user and item of the split a row of finite numbers, in the split's order",
        )


def source_digest(config: TeacherConfig) -> str:
    """Digest of the files that the teacher is read from; empty for teachers that are trained here.

    Raises:
        InputError: the files are missing.
    """
    if config.lists is not None:
        return lists_digest(config.lists)
    return features_digest(config.features) if config.features is not None else ""
