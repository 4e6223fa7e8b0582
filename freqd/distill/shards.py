"""In how many parts the student is trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from freqd.config import DistillConfig
from freqd.data.interactions import IdArray
from freqd.distill.context import DistillContext
from freqd.distill.objectives import Objective, build_objectives, check_objectives
from freqd.distill.student import new_student
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.models.shards import fit_in_shards
from freqd.training.device import resolve
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig

INTERACTIONS_A_SHARD = 10_000_000
MOST = 8
"""``auto`` makes parts of at least so many interactions, from twice as many on, and no more of them than this: the largest number
at which the quality was measured to be that of one part."""


def check_shards(config: DistillConfig, device: str) -> None:
    """See that the student can be trained in as many parts as the settings want.

    Args:
        device: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: it cannot.
    """
    if config.shards not in ("auto", 1) and (reason := _whole_only(config, str(resolve(device)))):
        raise InputError(f"distill.shards is {config.shards}, and {reason}", "set distill.shards=1, or auto")


def n_shards(config: DistillConfig, device: str, n_interactions: int) -> int:
    """In how many parts the student is trained.

    Raises:
        InputError: see ``check_shards``.
    """
    check_shards(config, device)
    if config.shards != "auto":
        return config.shards
    return 1 if _whole_only(config, device) else min(max(n_interactions // INTERACTIONS_A_SHARD, 1), MOST)


def _whole_only(config: DistillConfig, device: str) -> str:
    """Why the student cannot be trained in parts; empty if it can."""
    if config.backbone != "mf":
        return "a LightGCN student is trained as a whole: each row depends on others"
    if device.startswith("cuda"):
        return "parts are trained on CPUs alone"
    for cls, _, weight in check_objectives(config.objectives):
        if weight > 0 and not cls.by_user:
            return f"the term {cls.name!r} needs all users at once"
    return ""


def train_student(
    context: DistillContext,
    config: DistillConfig,
    start: Embeddings | None,
    data: Validation,
    optim: OptimConfig,
    environment: TrainingEnvironment,
) -> tuple[TrainedModel, Sequence[Objective]]:
    """The student trained with its terms, in as many parts as the settings say; and the terms if it is one.

    Args:
        start: both tables; None for a random start.

    Raises:
        DivergedError, InputError: as of ``fit`` and ``check_shards``.
    """
    model = new_student(config, data.train, start, environment.seed)
    count = n_shards(config, context.device, data.train.nnz)
    if count == 1:
        terms = build_objectives(config.objectives, context)
        return fit(model, terms, data, optim, environment), terms

    for cls, options, weight in check_objectives(config.objectives):
        if weight > 0:
            cls.prepare(options, context)

    def terms_of(users: IdArray) -> tuple[partial[list[Objective]], DistillContext]:
        return partial(build_objectives, config.objectives), context.of_users(users)

    trained = fit_in_shards(model.features(), terms_of, data, count, optim, environment)
    trained.info["shards"] = count
    return trained, ()
