"""The way of a teacher: its best items of every user at several points of its training, as small lists of ids.

Early rankings are simpler than the last one, so a student can learn them first (``hetcomp``). ALS is so cheap and so
exactly repeatable that the winner of the search is run once more to see them; nothing is kept while it is searched for.
A training by gradients keeps them as it goes on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, HistoryEntry
from freqd.evaluate.ranking import top_k
from freqd.progress import Progress, silent
from freqd.storage.files import write_atomic
from freqd.teachers.als import AlsTrial, als_sweeps

TRAJECTORY_TOP = 50
"""Items that are kept a user and point."""


def ranked(features: Embeddings, train: sparse.csr_array) -> IdArray:
    """The best items of every user without train items, (n_users, ``TRAJECTORY_TOP``) int32; −1 where there are no more."""
    return top_k(features, train, TRAJECTORY_TOP)[0]


def spaced(last: int, points: int) -> list[int]:
    """At most ``points`` steps from 1 to ``last``, as evenly as whole numbers allow; ``last`` is always one."""
    return sorted({int(step) for step in np.rint(np.linspace(last, 1, points))})


class TrajectoryRecorder:
    """An ``Observe`` of a training that keeps rankings in files, so that a training that is killed and resumed has them all.

    How many validations there will be is not known before, so it keeps those at multiples of a number of epochs that
    doubles whenever there would be more than twice as many as wanted.

    Args:
        folder: where the files go, made if missing.
        train: (n_users, n_items) CSR.
        points: rankings that are wanted in the end.
        every: epochs between two validations.
    """

    def __init__(self, folder: Path, train: sparse.csr_array, *, points: int, every: int) -> None:
        self.folder, self.train, self.points, self.every = folder, train, points, every
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, epoch: int, features: Embeddings, ndcg: float) -> HistoryEntry:
        """Keep the ranking of this validation, or not; nothing is added to the history."""
        stride = self.every
        while epoch > 2 * self.points * stride:
            stride *= 2
        for kept in self._epochs():
            if kept % stride:
                self._path(kept).unlink()
        if epoch > 0 and epoch % stride == 0:
            write_atomic(self._path(epoch), save({"items": ranked(features, self.train)}))
        return {}

    def trajectory(self, best_epoch: int, features: Embeddings) -> npt.NDArray[np.int32]:
        """At most ``points`` rankings, evenly spaced among those before ``best_epoch``, and that of ``features``."""
        before = [epoch for epoch in self._epochs() if epoch < best_epoch]
        chosen = [before[step - 1] for step in spaced(len(before) + 1, self.points)[:-1]]
        return np.stack([*(load_file(self._path(e))["items"] for e in chosen), ranked(features, self.train)])

    def _epochs(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.safetensors"))

    def _path(self, epoch: int) -> Path:
        return self.folder / f"{epoch}.safetensors"


def als_trajectory(
    train: sparse.csr_array,
    features: Embeddings,
    trial: AlsTrial,
    points: int,
    progress: Progress = silent,
) -> npt.NDArray[np.int32]:
    """Rankings at evenly spaced sweeps of a training of ALS that is already done.

    Args:
        train: (n_users, n_items) CSR.
        features: where the training ended.
        trial: that training; its best sweep, at least 1, gave ``features``.
        points: rankings to give at the most, the last one that of ``features``.

    Returns:
        (points or fewer, n_users, ``TRAJECTORY_TOP``) int32, earliest first.
    """
    sweeps = trial.best_sweep()
    wanted = spaced(sweeps, points)
    lists = []
    tables: Embeddings | None = None
    for sweep in range(1, wanted[-2] + 1) if len(wanted) > 1 else ():
        tables = als_sweeps(train, tables, trial.point, 1, seed=trial.seed)
        assert tables is not None  # it was finite the first time
        if sweep in wanted:
            lists.append(ranked(tables, train))
        progress(1.0, f"the teacher's way: sweep {sweep} of {sweeps}")
    return np.stack([*lists, ranked(features, train)])
