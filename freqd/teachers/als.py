"""Implicit-feedback ALS through the library ``implicit``: a few sweeps at a time, so that it can stop and resume.

The model (Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008) minimises

    Σ_ui c_ui (p_ui − x_u·y_i)² + reg · (Σ_u ‖x_u‖² + Σ_i ‖y_i‖²),   p_ui = 1 and c_ui = 1 + alpha where u met i,
                                                                    p_ui = 0 and c_ui = 1 elsewhere.

``implicit`` takes the *confidence itself* as the matrix's values, c_ui = alpha_implicit · value, not 1 + alpha · value.
So the values handed over here are 1 + alpha and its own ``alpha`` stays at 1. Its ``regularization`` is the plain
``reg`` above, not multiplied by the number of interactions. A row without any interaction becomes zero.

One sweep solves all users, then all items, by three conjugate-gradient steps that start from the present row (Takács,
Pilászy & Tikk, RecSys 2011). The rows of a side do not depend on each other, so the number of threads does not
change the result, and both tables together are the whole state of a run.
"""

from __future__ import annotations

import ctypes
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import sparse

from freqd.embeddings import Embeddings, FloatMatrix, HistoryEntry, Trial
from freqd.engine import HERE, Engine
from freqd.numerics import threads
from freqd.numerics.threads import even_blocks
from freqd.progress import Progress, silent
from freqd.storage.files import storage_error, write_atomic
from freqd.training.interfaces import TrainingData

CG_STEPS = 3  # implicit's own default

BLOCKS = 64
"""Blocks of the rows of a side, however many an engine does at a time."""


@dataclass(frozen=True)
class AlsHyperparameters:
    """One setting of ALS.

    Attributes:
        factors: embedding dimension D >= 1.
        regularization: L2 strength, >= 0.
        alpha: extra confidence of a seen pair, whose weight is 1 + alpha; > 0.
    """

    factors: int
    regularization: float
    alpha: float

    def label(self) -> str:
        """The setting in a few words, for progress and messages."""
        return f"ALS {self.factors} factors, regularization {self.regularization:g}, alpha {self.alpha:g}"


def sweep_cost(factors: int, *, n_users: int, n_items: int, n_interactions: int) -> float:
    """Multiplications of one sweep, for comparing the cost of different ``factors`` on the same data.

    A conjugate-gradient step of one row multiplies by the (D, D) Gram matrix and touches its interactions' rows twice;
    one residual and ``CG_STEPS`` steps on each side; the Gram matrices cost (n_users + n_items) · D² more.
    """
    rows = n_users + n_items
    steps = CG_STEPS + 1
    return steps * (rows * factors**2 + 2 * 2 * n_interactions * factors) + rows * factors**2


def als_sweeps(
    train: sparse.csr_array,
    tables: Embeddings | None,
    point: AlsHyperparameters,
    sweeps: int,
    *,
    seed: int,
    engine: Engine = HERE,
) -> Embeddings | None:
    """Carry ALS on for some sweeps, in place where ``tables`` is given.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        tables: the state so far, changed in place; None starts from small random numbers of ``seed``.
        point: the setting; ``point.factors`` must be the width of ``tables``.
        sweeps: how many sweeps, >= 1.
        engine: solves blocks of rows; the numbers are the same.

    Returns:
        The new state, or None if the numbers stopped being finite (regularization too small for this data).
    """
    from implicit.recommender_base import ModelFitError

    confidence = _confidence(train, point)
    if not engine.here:
        return _finite(
            _sweeps_by_blocks(confidence, tables or _first_tables(confidence, point, seed), point, sweeps, engine)
        )
    with threads.one_blas_thread():
        model = _solver(point, sweeps=sweeps, seed=seed)
        if tables is not None:
            model.user_factors, model.item_factors = tables.users, tables.items
        try:
            model.fit(confidence, show_progress=False)
        except ModelFitError:
            return None
    return _finite(Embeddings(model.user_factors, model.item_factors))


def _finite(tables: Embeddings) -> Embeddings | None:
    return tables if np.isfinite(tables.users).all() and np.isfinite(tables.items).all() else None


def _first_tables(confidence: sparse.csr_matrix, point: AlsHyperparameters, seed: int) -> Embeddings:
    """Where implicit starts."""
    from implicit.utils import check_random_state

    random = check_random_state(seed)
    return Embeddings(*(random.random((rows, point.factors), dtype=np.float32) * 0.01 for rows in confidence.shape))


def _sweeps_by_blocks(
    confidence: sparse.csr_matrix, tables: Embeddings, point: AlsHyperparameters, sweeps: int, engine: Engine
) -> Embeddings:
    """implicit's sweeps, in place, with the rows of a side in blocks."""
    by_item = confidence.T.tocsr()
    sides = [
        (tables.users, tables.items, even_blocks(confidence.indptr, BLOCKS), engine.share(confidence)),
        (tables.items, tables.users, even_blocks(by_item.indptr, BLOCKS), engine.share(by_item)),
    ]
    for _ in range(sweeps):
        for own, other, blocks, interactions in sides:
            starts = [(rows, own[rows]) for rows in blocks]
            for rows, solved in zip(blocks, engine.map(_solved, starts, interactions, other, point), strict=True):
                own[rows] = solved
    return tables


def _solved(
    start: tuple[slice, FloatMatrix], interactions: sparse.csr_matrix, other: FloatMatrix, point: AlsHyperparameters
) -> FloatMatrix:
    """Some rows of a side after half a sweep, from where they are."""
    rows, before = start
    found = before.copy()
    with threads.one_blas_thread():
        solve = _solver(point, sweeps=1, seed=0).solver
        solve(interactions[rows], found, _writable(other), point.regularization, num_threads=threads.count())
    return found


def _writable(table: FloatMatrix) -> FloatMatrix:
    """The same memory for implicit, which refuses what may not be written though it only reads."""
    if table.flags.writeable:
        return table
    memory: Any = (ctypes.c_char * table.nbytes).from_address(table.ctypes.data)
    return np.frombuffer(memory, table.dtype).reshape(table.shape)


def solve_new_rows(
    train: sparse.csr_array,
    tables: Embeddings,
    point: AlsHyperparameters,
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
) -> Embeddings:
    """Give rows that ALS has not trained their closed form: these users from all items, then these items from all users.

        x_u = (Σ_i c_ui y_i y_iᵀ + reg I)⁻¹ Σ_i c_ui p_ui y_i,   and the same with users and items exchanged

    O(D³ + D² · interactions) a row, by implicit's Cholesky solver.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        tables: the other rows as they were trained; what stands in the rows to fill does not count, so those items say
            nothing about those users.
        point: the setting of the training.
        users, items: rows to fill.

    Returns:
        New tables, the other rows unchanged.
    """
    confidence = _confidence(train, point)
    found = Embeddings(tables.users.copy(), tables.items.copy())
    found.items[items] = 0.0
    with threads.one_blas_thread():
        model = _solver(point, sweeps=1, seed=0)
        model.user_factors, model.item_factors = found.users, found.items
        if len(users):
            found.users[users] = model.recalculate_user(users, confidence[users])
        if len(items):
            found.items[items] = model.recalculate_item(items, confidence.T.tocsr()[items])
    return found


def _confidence(train: sparse.csr_array, point: AlsHyperparameters) -> sparse.csr_matrix:
    values = np.full(train.nnz, 1.0 + point.alpha, np.float32)
    return sparse.csr_matrix((values, train.indices, train.indptr), shape=train.shape)


def _solver(point: AlsHyperparameters, *, sweeps: int, seed: int) -> Any:
    """implicit's model; to be used with one thread of BLAS: more of them make it several times slower (and it warns)."""
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=point.factors,
        regularization=point.regularization,
        alpha=1.0,
        dtype=np.float32,
        iterations=sweeps,
        num_threads=threads.count(),
        random_state=seed,
    )


@dataclass(eq=False)
class AlsTrial:
    """One setting while it is trained: its tables, the best tables so far, and how they came about.

    Attributes:
        point: the setting.
        seed: seed of the first tables.
        sweeps: sweeps done.
        seconds: time spent on it, validation included.
        history: one entry a validation: epoch (sweeps), seconds, valid_ndcg_at_10.
        failed: the numbers stopped being finite; nothing more can come of it.
    """

    point: AlsHyperparameters
    seed: int
    sweeps: int = 0
    seconds: float = 0.0
    history: list[HistoryEntry] = field(default_factory=list)
    failed: bool = False
    tables: Embeddings | None = field(default=None, repr=False)
    best: Embeddings | None = field(default=None, repr=False)

    def best_ndcg(self, until: int | None = None) -> float:
        """The best validation NDCG@10 within ``until`` sweeps (default: all); −inf before the first validation."""
        return max(
            (e["valid_ndcg_at_10"] for e in self.history if until is None or e["epoch"] <= until), default=-math.inf
        )

    def best_sweep(self) -> int:
        """The first sweep with the best validation NDCG@10; 0 before the first validation."""
        return next((e["epoch"] for e in self.history if e["valid_ndcg_at_10"] == self.best_ndcg()), 0)

    def exhausted(self, patience: int) -> bool:
        """Whether the last ``patience`` validations all stayed at or below an earlier one, or the run failed."""
        if self.failed:
            return True
        values = [entry["valid_ndcg_at_10"] for entry in self.history]
        return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])

    def advance(
        self,
        data: TrainingData,
        until: int,
        *,
        eval_every: int,
        patience: int,
        progress: Progress = silent,
        engine: Engine = HERE,
    ) -> None:
        """Train on to ``until`` sweeps in all, validating every ``eval_every`` sweeps and at the end; keep the best.

        Stops before ``until`` once ``patience`` validations in a row brought nothing better.
        """
        while self.sweeps < until and not self.exhausted(patience):
            start = perf_counter()
            step = min(eval_every - self.sweeps % eval_every, until - self.sweeps)
            tables = als_sweeps(data.train, self.tables, self.point, step, seed=self.seed, engine=engine)
            if tables is None:
                self.failed = True
                self.seconds += perf_counter() - start
                return
            self.tables = tables
            self.sweeps += step
            ndcg = float(data(tables))
            if self.best is None or ndcg > self.best_ndcg():
                self.best = Embeddings(tables.users.copy(), tables.items.copy())
            self.seconds += perf_counter() - start
            self.history.append({"epoch": self.sweeps, "seconds": self.seconds, "valid_ndcg_at_10": ndcg})
            progress(self.sweeps / until, f"{self.point.label()}: sweep {self.sweeps}, validation NDCG@10 {ndcg:.4f}")

    def row(self, *, finished: bool) -> Trial:
        """The trial in a table of trials."""
        return {
            "factors": self.point.factors,
            "regularization": self.point.regularization,
            "alpha": self.point.alpha,
            "valid_ndcg_at_10": self.best_ndcg() if self.history else None,
            "seconds": round(self.seconds, 3),
            "sweeps": self.sweeps,
            "best_sweep": self.best_sweep(),
            "finished": finished,
            "failed": self.failed,
        }

    def release(self) -> None:
        """Forget the tables, keep the numbers."""
        self.tables = self.best = None

    def save(self, path: Path) -> None:
        """Write tables, best tables and record as one safetensors file, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        tensors: dict[str, FloatMatrix] = {}
        if self.tables is not None:
            tensors |= {"users": self.tables.users, "items": self.tables.items}
        if self.best is not None and self.best_sweep() != self.sweeps:
            tensors |= {"best_users": self.best.users, "best_items": self.best.items}
        content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, {"trial": json.dumps(self._record())})
        try:
            write_atomic(path, content)
        except OSError as error:
            raise storage_error(error, path.parent) from error

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What ``save`` wrote, or None if there is no file or it is damaged."""
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                record = json.loads(file.metadata()["trial"])
                trial = cls(AlsHyperparameters(**record.pop("point")), **record)
                # copies: training goes on in them, and they must not be views of the file
                tensors = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError):
            return None
        if "users" in tensors:
            trial.tables = Embeddings(tensors["users"], tensors["items"])
        if "best_users" in tensors:
            trial.best = Embeddings(tensors["best_users"], tensors["best_items"])
        elif trial.tables is not None:
            trial.best = Embeddings(trial.tables.users.copy(), trial.tables.items.copy())
        return trial

    def _record(self) -> dict[str, object]:
        """Everything but the tables, as JSON."""
        names = ("seed", "sweeps", "seconds", "history", "failed")
        return {"point": asdict(self.point), **{name: getattr(self, name) for name in names}}
