"""A student trained in parts: what two cores save of an epoch of `rce` on Gowalla. Not part of the suite: it takes two cores by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main
from benchmarks.training import BATCH, context
from freqd.config import ObjectiveConfig
from freqd.crew import local_crew
from freqd.data.interactions import IdArray
from freqd.distill import build_objectives
from freqd.distill.context import DistillContext
from freqd.graph import no_graphs
from freqd.low_rank import low_rank
from freqd.models.shards import MEANS_AN_EPOCH, Shard, ShardedLearner, ShardRecipe
from freqd.numerics.threads import limited
from freqd.spectral.filters import SideFilters
from freqd.training.optim import OptimConfig

TERMS = (ObjectiveConfig(name="rce"),)
EPOCHS = 4
"""The first is not counted: its lists are all new."""


def owners_of(whole: DistillContext, count: int) -> list[IdArray]:
    """The users of each part."""
    return [np.arange(number, whole.n_users, count, dtype=np.int32) for number in range(count)]


def recipes(whole: DistillContext, count: int) -> list[ShardRecipe]:
    """The parts."""
    start = low_rank(whole.teacher, whole.dim)
    owners = owners_of(whole, count)
    optim = OptimConfig(batch_size=BATCH, learning_rate=1e-2)
    make: Callable[[DistillContext], Sequence[object]] = partial(build_objectives, TERMS)
    return [
        ShardRecipe(number, make, whole.of_users(own), start.of_users(own), whole.train[own], optim, number)
        for number, own in enumerate(owners)
    ]


def measured(whole: DistillContext, count: int, threads: int) -> tuple[Measured, Measured]:
    """Lists and steps in so many parts, on so many threads: processes of one each, or one thread here."""
    marks: list[float] = []
    parts = recipes(whole, count)
    found = []
    with limited(threads), local_crew(Shard, parts) as crew:
        learner = ShardedLearner(
            crew, owners_of(whole, count), lambda epoch, share, text: marks.append(time.perf_counter())
        )
        for number in range(1, EPOCHS + 1):
            marks.clear()
            learner.epoch(number, 1e-2)
            found.append((marks[1] - marks[0], time.perf_counter() - marks[1]))
    del found[0]
    name = f"{count} part{'s' if count > 1 else ''} on {threads} core{'s' if threads > 1 else ''}"
    lists, steps = zip(*found, strict=True)
    return Measured(f"lists, {name}", lists, (), None), Measured(f"steps, {name}", steps, (), None)


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    train = dataset.split.train.matrix()
    whole = context(train, data.features(dataset.split, 64), no_graphs(*train.shape), SideFilters(), 20)
    rows = {(count, cores): measured(whole, count, cores) for count, cores in ((1, 1), (2, 2), (4, 2), (8, 2))}
    once = rows[1, 1]
    figures = []
    for count in (2, 4, 8):
        lists, steps = rows[count, 2]
        share = steps.seconds / once[1].seconds
        whole_share = (lists.seconds + steps.seconds) / (once[0].seconds + once[1].seconds)
        figures += [
            Figure(f"steps, {count} parts on 2 cores / 1 part", share, None, "<= .65" if count == 2 else ""),
            Figure(f"epoch, {count} parts on 2 cores / 1 part on 1", whole_share),
        ]
    return Report(
        f"A student in parts, d = 20, batch {BATCH}, rce of a teacher of 64",
        dataset.label,
        tuple(row for pair in rows.values() for row in pair),
        tuple(figures),
        (f"Means of the items {MEANS_AN_EPOCH} times an epoch; {EPOCHS - 1} epochs each after a first one.",),
        runs=EPOCHS - 1,
    )


if __name__ == "__main__":
    main(run)
