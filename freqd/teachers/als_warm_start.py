"""A warm start of ALS from the teacher of an earlier run: its setting, its rows, a few sweeps."""

from __future__ import annotations

from time import perf_counter

from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.progress import Progress, silent
from freqd.teachers.als import AlsPoint, AlsTrial, Validate, fold_in
from freqd.teachers.earlier import Previous

EVAL_EVERY = 1
PATIENCE = 2
"""Validations without a better value before it stops: one alone may be chance."""


def continue_als(
    train: sparse.csr_array,
    validate: Validate,
    previous: Previous,
    point: AlsPoint,
    *,
    sweeps: int,
    seed: int,
    threads: int | None,
    progress: Progress = silent,
) -> AlsTrial:
    """Known rows as they were, new ones folded in (see ``fold_in``), then sweeps over all while validation gets better.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        validate: NDCG@10 of a feature table on the validation split.
        previous: an earlier ALS teacher.
        point: its setting.
        sweeps: at the most.

    Returns:
        The trial with the best tables; its history begins with sweep 0, the earlier teacher itself.
    """
    started = perf_counter()
    moved = previous.move(previous.model.features)
    start = fold_in(train, moved, point, previous.users.new, previous.items.new, threads=threads)
    trial = AlsTrial(point, seed, tables=start, best=Embeddings(start.users.copy(), start.items.copy()))
    ndcg = float(validate(start))
    trial.seconds = perf_counter() - started
    trial.history.append({"epoch": 0, "seconds": trial.seconds, "valid_ndcg_at_10": ndcg})
    progress(0.0, f"{point.label()}: the earlier teacher, validation NDCG@10 {ndcg:.4f}")
    trial.advance(train, validate, sweeps, eval_every=EVAL_EVERY, patience=PATIENCE, threads=threads, progress=progress)
    return trial
