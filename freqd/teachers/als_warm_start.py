"""A warm start of ALS from the teacher of an earlier run: its setting, its rows, a few sweeps."""

from __future__ import annotations

from time import perf_counter

from freqd.embeddings import Embeddings
from freqd.teachers.als import AlsHyperparameters, AlsTrial, solve_new_rows
from freqd.teachers.previous_model import PreviousModel
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import TrainingData

EVAL_EVERY = 1
PATIENCE = 2
"""Validations without a better value before it stops: one alone may be chance."""


def continue_als(
    data: TrainingData,
    previous: PreviousModel,
    point: AlsHyperparameters,
    sweeps: int,
    environment: TrainingEnvironment,
) -> AlsTrial:
    """Known rows as they were, new ones folded in (see ``solve_new_rows``), then sweeps over all while validation gets better.

    Args:
        data: what to learn from and to be judged by.
        previous: an earlier ALS teacher.
        point: its setting.
        sweeps: at the most.
        environment: seed and progress.

    Returns:
        The trial with the best tables; its history begins with sweep 0, the earlier teacher itself.
    """
    started = perf_counter()
    moved = previous.move(previous.model.features)
    start = solve_new_rows(data.train, moved, point, previous.users.new, previous.items.new)
    trial = AlsTrial(point, environment.seed, tables=start, best=Embeddings(start.users.copy(), start.items.copy()))
    ndcg = float(data(start))
    trial.seconds = perf_counter() - started
    trial.history.append({"epoch": 0, "seconds": trial.seconds, "valid_ndcg_at_10": ndcg})
    environment.progress(0.0, f"{point.label()}: the earlier teacher, validation NDCG@10 {ndcg:.4f}")
    how = {"eval_every": EVAL_EVERY, "patience": PATIENCE}
    trial.advance(data, sweeps, **how, progress=environment.progress, engine=environment.engine)
    return trial
