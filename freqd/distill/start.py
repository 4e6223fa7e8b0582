"""Where the distilled student starts."""

from __future__ import annotations

import numpy as np

from freqd.distill.context import DistillContext
from freqd.distill.svd import svd_student
from freqd.features import FeatureTable

IDLE_STD = 0.01
"""Columns beyond the rank of the teacher's scores start as small noise: zeros on both sides would never move."""


def warm_start(context: DistillContext) -> FeatureTable:
    """The SVD student of the ranking teacher, scaled to a spread of scores of 1.

    The scale does not change the ranking. It makes the student's scores the logits of the teacher's softmax at
    temperature 1, so that training starts with nothing to do about their size, whatever the teacher's scale.
    """
    start = svd_student(context.ranking_teacher, context.dim)
    factor = np.float32(context.spread**-0.5)
    rng = np.random.default_rng(context.seed)
    tables = []
    for table in (start.users * factor, start.items * factor):
        idle = ~table.any(axis=0)
        table[:, idle] = rng.normal(0.0, IDLE_STD, (len(table), int(idle.sum())))
        tables.append(table)
    return FeatureTable(users=tables[0], items=tables[1])
