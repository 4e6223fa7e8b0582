"""Where the distilled student starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from freqd.config import DistillConfig
from freqd.data.realign import Rows
from freqd.distill.context import DistillContext
from freqd.distill.student import new_student
from freqd.embeddings import Embeddings, FloatMatrix, StartInfo, TrainedModel
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.low_rank import low_rank
from freqd.numerics.linalg import ridge
from freqd.teachers.previous_model import PreviousModel, warm_start_info

IDLE_STD = 0.01
"""Columns beyond the rank of the teacher's scores start as small noise: zeros on both sides would never move."""


@dataclass(frozen=True, eq=False)
class StudentInit:
    """A start of the student.

    Attributes:
        name: previous, svd or random.
        tables: the model's parameters; None for random ones.
        info: how it was chosen, if there was a choice.
    """

    name: str
    tables: Embeddings | None
    info: StartInfo | None = None


def choose_start(
    context: DistillContext, config: DistillConfig, validate: Validation, previous: PreviousModel | None
) -> StudentInit:
    """The start of the settings or, where there is a previous student, the better one of both on validation.

    Random numbers are no competitor. At equal values the previous student is taken.

    Raises:
        InputError: the previous student is another kind of model.
    """
    own = StudentInit(config.warm_start, warm_start(context) if config.warm_start == "svd" else None)
    if previous is None:
        return own
    check_student(previous.model, config)
    earlier = StudentInit("previous", align_previous_student(previous, context.teacher))
    values = {
        start.name: validate(new_student(config, context.train, start.tables, context.seed).features())
        for start in (earlier, own)
        if start.tables is not None
    }
    best = max((earlier, own), key=lambda start: values.get(start.name, 0.0))
    return StudentInit(
        best.name, best.tables, warm_start_info(previous, {"way": best.name, "valid_ndcg_at_10": values})
    )


def warm_start(context: DistillContext) -> Embeddings:
    """The SVD student of the ranking teacher, scaled to a spread of scores of 1.

    The scale does not change the ranking. It makes the student's scores the logits of the teacher's softmax at
    temperature 1, so that training starts with nothing to do about their size, whatever the teacher's scale.
    """
    start = low_rank(context.ranking_table, context.dim)
    factor = np.float32(context.spread**-0.5)
    rng = np.random.default_rng(context.seed)
    tables = []
    for table in (start.users * factor, start.items * factor):
        idle = ~table.any(axis=0)
        table[:, idle] = rng.normal(0.0, IDLE_STD, (len(table), int(idle.sum())))
        tables.append(table)
    return Embeddings(users=tables[0], items=tables[1])


def check_student(student: TrainedModel, config: DistillConfig) -> None:
    """See that an earlier student is of the kind that is trained now.

    Raises:
        InputError: it has another backbone or dimension.
    """
    backbone = student.info.get("backbone")
    if backbone != config.backbone:
        raise InputError(
            f"the run to start from has a student of backbone {backbone}, and distill.backbone is {config.backbone}",
            f"set distill.backbone={backbone}, or start.run=none",
        )
    if student.features.dim != config.dim:
        raise InputError(
            f"the run to start from has a student of dimension {student.features.dim}, and distill.dim is {config.dim}",
            f"set distill.dim={student.features.dim}, or start.run=none",
        )


def align_previous_student(previous: PreviousModel, teacher: Embeddings) -> Embeddings:
    """The previous student's parameters for the rows of now.

    Known rows are as they were. A new one is t W, where W maps the present teacher's rows of known users (or items) to
    the student's by least squares: min_W Σ_known ‖t W − s‖². So it does not matter which numbers the teacher of the
    earlier run had, nor whether the present one has anything to do with it.

    Args:
        previous: an earlier student; of LightGCN the parameters count, not the propagated features.
        teacher: the present teacher's features.
    """
    model = previous.model
    own = Embeddings(model.extra["raw_users"], model.extra["raw_items"]) if model.extra else model.features
    moved = previous.move(own)
    _fill(moved.users, teacher.users, previous.users)
    _fill(moved.items, teacher.items, previous.items)
    return moved


def _fill(student: FloatMatrix, teacher: FloatMatrix, rows: Rows) -> None:
    """Fill the new rows of ``student`` (n, d) in place."""
    known = teacher[rows.known].astype(np.float64)
    student[rows.new] = teacher[rows.new] @ ridge(known.T @ known, known.T @ student[rows.known])
