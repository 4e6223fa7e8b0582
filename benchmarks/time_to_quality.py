"""Time to 99 % of the best validation NDCG: freqd's MF-BPR against implicit's at the same d, Gowalla."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, measure
from benchmarks.training import BATCH
from freqd.embeddings import Embeddings
from freqd.evaluate.validation import Validation
from freqd.models.mf import MatrixFactorization
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig

SHARE = 0.99
EPOCHS, EVERY, PATIENCE = 100, 4, 6
"""Epochs at the most, epochs between two validations, and validations without a better one that end a training."""

USERS = 3000
"""Validation users that both are judged by."""

TRAININGS = 3
"""Of each at the most: they take minutes, and differ in nothing but the time."""


OURS = {"learning_rate": 2e-3, "weight_decay": 3e-3}
THEIRS = {"learning_rate": 0.1, "regularization": 0.001}
"""Step sizes and L2: the best of a few tried for each."""


@dataclass
class Curve:
    """Validation NDCG@10 over the training's own seconds: judging stops both clocks.

    Attributes:
        judge: the validation.
        points: (wall seconds, CPU seconds, NDCG) of each validation.
    """

    judge: Validation
    points: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def train(self) -> sparse.csr_array:
        return self.judge.train

    def __post_init__(self) -> None:
        self._wall, self._cpu = 0.0, 0.0
        self._resume()

    def _resume(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    def __call__(self, features: Embeddings) -> float:
        """One more point."""
        self._wall += time.perf_counter() - self._since[0]
        self._cpu += time.process_time() - self._since[1]
        ndcg = self.judge(features)
        self.points.append((self._wall, self._cpu, ndcg))
        self._resume()
        return ndcg

    @property
    def best(self) -> float:
        """The highest NDCG."""
        return max(ndcg for *_, ndcg in self.points)

    @property
    def over(self) -> bool:
        """Whether the last ``PATIENCE`` validations brought nothing."""
        earlier, last = self.points[:-PATIENCE], self.points[-PATIENCE:]
        return bool(earlier) and max(n for *_, n in last) <= max(n for *_, n in earlier)

    def until(self, ndcg: float) -> tuple[float, float]:
        """Wall and CPU seconds to the first validation that reaches it."""
        return next((wall, cpu) for wall, cpu, reached in self.points if reached >= ndcg)


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny, whole_train=False)
    dim = 8 if options.tiny else 64
    judge = Validation.of(dataset.split, limit=USERS, seed=0)
    train = judge.train
    # What is compiled or allocated once is no part of a training.
    measure({"freqd": lambda: ours(train, dim, Curve(judge), epochs=1)}, Options(runs=1))
    curves: dict[str, list[Curve]] = {"freqd, Adam": [], "implicit, SGD": []}
    trainings = min(options.runs, TRAININGS)
    for turn in range(trainings):
        for name in curves if turn % 2 else reversed(curves):
            curve = Curve(judge)
            if name == "freqd, Adam":
                ours(train, dim, curve, epochs=EPOCHS)
            else:
                theirs(train, dim, curve, threads=options.threads)
            curves[name].append(curve)
    common = SHARE * min(curve.best for found in curves.values() for curve in found)
    rows = []
    for target, goals in (
        (f"{SHARE:.0%} of its own best", None),
        (f"NDCG {common:.4f}, {SHARE:.0%} of the lower best", common),
    ):
        for name, found in curves.items():
            times = [curve.until(SHARE * curve.best if goals is None else goals) for curve in found]
            note = f"best {np.median([curve.best for curve in found]):.4f}, median of {len(found)} trainings"
            wall, cpu = (tuple(seconds) for seconds in zip(*times, strict=True))
            rows.append(Measured(f"{name}: to {target}", wall, cpu, None, note))
    own, own_theirs, same, same_theirs = rows
    bests = [float(np.median([curve.best for curve in found])) for found in curves.values()]
    return Report(
        f"Time to {SHARE:.0%} of the best validation NDCG@10, MF-BPR, d = {dim}",
        dataset.label,
        tuple(rows),
        (
            Figure(
                f"freqd / implicit, to {SHARE:.0%} of each one's own best",
                own.seconds / own_theirs.seconds,
                own.cpu_seconds / own_theirs.cpu_seconds,
            ),
            Figure(
                "freqd / implicit, to the same NDCG",
                same.seconds / same_theirs.seconds,
                same.cpu_seconds / same_theirs.cpu_seconds,
                "<= 1",
            ),
            Figure("best NDCG, freqd / implicit", bests[0] / bests[1]),
        ),
        (
            f"A validation over {USERS:,} users outside the clock every {EVERY} epochs; at most {EPOCHS} epochs, and an end after "
            f"{PATIENCE} validations without a better one. Step sizes and L2 are the best of a few for each: freqd {OURS}, implicit {THEIRS}.",
            "Who ends at a higher NDCG takes longer to its own best, so the target is for the same NDCG.",
        ),
        runs=trainings,
    )


def ours(train: sparse.csr_array, dim: int, curve: Curve, *, epochs: int) -> None:
    """freqd's loop."""
    optim = OptimConfig(epochs=epochs, batch_size=BATCH, eval_every=EVERY, patience=PATIENCE, **OURS)
    model = MatrixFactorization((*train.shape, dim), seed=0)
    fit(model, [], curve, optim, TrainingEnvironment(seed=0, device="cpu"))


class _Over(Exception):
    """Ends implicit's training."""


def theirs(train: sparse.csr_array, dim: int, curve: Curve, *, threads: int) -> None:
    """implicit's training, stopped by the same rule."""
    model = BayesianPersonalizedRanking(factors=dim, iterations=EPOCHS, num_threads=threads, random_state=0, **THEIRS)

    def look(iteration: int, *progress: object) -> None:
        if (iteration + 1) % EVERY:
            return
        curve(Embeddings(np.ascontiguousarray(model.user_factors), np.ascontiguousarray(model.item_factors)))
        if curve.over:
            raise _Over

    with suppress(_Over):
        model.fit(sparse.csr_matrix(train), show_progress=False, callback=look)


if __name__ == "__main__":
    main(run)
