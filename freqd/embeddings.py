"""Feature tables, and what a recommender is once it is trained: tables, or another scorer beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from freqd.numerics.listed_scores import table_scores
from freqd.scorer import Arrays, IdArray, ItemScorer, ListScorer, Scorer, SumScorer

FloatMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A user's score of an item is the inner product of their rows: the ``Scorer`` that is a pair of tables.

    Attributes:
        users: (n_users, d) float32.
        items: (n_items, d) float32.
    """

    kind: ClassVar[str] = "features"
    records: ClassVar[frozenset[str]] = frozenset()

    users: FloatMatrix
    items: FloatMatrix

    def __post_init__(self) -> None:
        for name in ("users", "items"):
            array = getattr(self, name)
            if array.ndim != 2 or array.dtype != np.float32:
                raise ValueError(f"{name} must be a float32 matrix, got {array.dtype} with shape {array.shape}")
        if self.users.shape[1] != self.items.shape[1]:
            raise ValueError(f"users have {self.users.shape[1]} columns but items have {self.items.shape[1]}")

    def __repr__(self) -> str:
        return f"<Embeddings of {len(self.users):,} users and {len(self.items):,} items, dimension {self.dim}>"

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def dim(self) -> int:
        """Embedding dimension."""
        return int(self.users.shape[1])

    @property
    def n_parameters(self) -> int:
        """Numbers in both tables."""
        return int(self.users.size + self.items.size)

    @property
    def n_bytes(self) -> int:
        """Bytes of both tables in memory."""
        return int(self.users.nbytes + self.items.nbytes)

    def block(self, users: IdArray) -> FloatMatrix:
        """As ``Scorer``."""
        scores: FloatMatrix = self.users[users] @ self.items.T
        return scores

    def add_block(self, users: IdArray, factor: np.float32, total: FloatMatrix) -> None:
        """As ``Scorer``."""
        total += (self.users[users] * factor) @ self.items.T

    def listed(self, users: IdArray, lists: IdArray) -> FloatMatrix:
        """As ``Scorer``; O(b · L · d)."""
        return table_scores(self.users[users], self.items, lists)

    def of_users(self, users: IdArray) -> Embeddings:
        """As ``Scorer``."""
        return Embeddings(self.users[users], self.items)

    def arrays(self) -> Arrays:
        """As ``Scorer``."""
        return {"users": self.users, "items": self.items}

    def write(self, folder: Path) -> None:
        """Write ``features.safetensors``."""
        _save(self.arrays(), folder / "features.safetensors")

    @classmethod
    def read(cls, folder: Path) -> Embeddings:
        """Read what ``write`` wrote."""
        tensors = load_file(folder / "features.safetensors")
        return cls(users=tensors["users"], items=tensors["items"])


def as_table(scorer: Scorer) -> Embeddings | None:
    """The tables whose inner products are the scores, if there are any: of a table, or of a sum of nothing but those.

    A sum is tables side by side: users [√f₁ A_u, √f₂ B_u, ...] and items likewise, f = weight / spread.
    """
    if isinstance(scorer, Embeddings):
        return scorer
    if not isinstance(scorer, SumScorer):
        return None
    tables = [as_table(part) for part in scorer.scorers]
    found = [table for table in tables if table is not None]
    if len(found) < len(tables):
        return None
    roots = [np.sqrt(factor) for factor in scorer.factors]
    users, items = (
        np.concatenate([getattr(table, side) * root for table, root in zip(found, roots, strict=True)], axis=1)
        for side in ("users", "items")
    )
    return Embeddings(users, items)


def side_by_side(scorer: SumScorer) -> SumScorer:
    """The same sum with all its tables as one, which is first: one matrix product instead of several."""
    parts = list(zip(scorer.scorers, scorer.weights, scorer.spreads, strict=True))
    tables = [part for part in parts if as_table(part[0]) is not None]
    others = [part for part in parts if as_table(part[0]) is None]
    one = as_table(SumScorer(*zip(*tables, strict=True))) if len(tables) > 1 else None
    return scorer if one is None else SumScorer(*zip((one, 1.0, 1.0), *others, strict=True))


def scorer_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Scorer:
    """The scorer whose ``arrays`` these are."""
    if "users" in arrays:
        return Embeddings(arrays["users"], arrays["items"])
    if "lists" in arrays:
        return ListScorer.of(arrays)
    if "spreads" not in arrays:
        return ItemScorer.of(arrays)
    shares, spreads = arrays["shares"].tolist(), arrays["spreads"].tolist()
    parts = (
        {name.removeprefix(f"{number}/"): array for name, array in arrays.items() if name.startswith(f"{number}/")}
        for number in range(len(shares))
    )
    return SumScorer(tuple(scorer_of(part) for part in parts), tuple(shares), tuple(spreads))


def _save(arrays: Arrays, file: Path) -> None:
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)


class HistoryEntry(TypedDict, total=False):
    """One validation: epoch or sweep, seconds so far, NDCG@10, losses by term, mastery of the bands."""

    epoch: int
    seconds: float
    valid_ndcg_at_10: float
    loss: float
    losses: dict[str, float]
    mastery_user: list[float]
    mastery_item: list[float]


class Trial(TypedDict, total=False):
    """One setting that a search has tried, as far as it concerns the kind of model."""

    kind: str
    factors: int
    regularization: float
    alpha: float
    alpha_user: float
    alpha_item: float
    beta: float
    spectrum: float
    item_degree: float
    neighbours: int
    shrink: float
    learning_rate: float
    weight_decay: float
    valid_ndcg_at_10: float | None
    seconds: float
    sweeps: int
    best_sweep: int
    best_epoch: int
    stopped: str
    finished: bool
    failed: bool


class FeatureTrial(TypedDict):
    """A filter of the feature loss that was tried: labels of both sides, what it gained over none and its standard error."""

    user: str
    item: str
    valid_ndcg_at_10: float
    gain: float
    error: float


class StartInfo(TypedDict, total=False):
    """How a training went on from an earlier model; ``rows`` are those kept, new and gone, of both sides."""

    way: str
    valid_ndcg_at_10: float | dict[str, float]
    valid_ndcg_at_10_before: float
    sweeps: int
    rows: dict[str, dict[str, int]]


class ModelInfo(TypedDict, total=False):
    """What a model tells of its training; each kind of model has its own of these."""

    kind: str
    method: str
    backbone: str
    dim: int
    factors: int
    regularization: float
    alpha: float
    alpha_user: float
    alpha_item: float
    beta: float
    spectrum: float
    item_degree: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    device: str
    epochs: int
    planned_epochs: int
    best_epoch: int
    valid_ndcg_at_10: float
    search_users: int
    seconds: float
    stopped: str
    resumed_from: int | None
    trials: list[Trial]
    not_tried: int
    budget_hit: bool
    warnings: list[str]
    start: StartInfo
    warm_start: str
    shards: int
    objectives: list[dict[str, object]]
    feature_filters: dict[str, object]
    feature_trials: list[FeatureTrial]
    feature_reason: str
    ranking_filters: dict[str, object]
    brought: dict[str, dict[str, int]]
    weights: dict[str, float]
    parts: dict[str, ModelInfo]
    reason: str
    table_valid_ndcg_at_10: float
    notes: list[str]
    whole: bool
    refit: bool


ORIGIN = ("kind", "method", "backbone", "best_epoch", "refit", "start", "feature_filters", "ranking_filters")
"""What of ``info`` tells models with the same numbers apart."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained recommender: its features and how it came to be.

    Attributes:
        features: the final (for LightGCN: propagated) features that score; of a model that is more than a pair of tables, tables
            that come near its scores.
        history: one entry a validation, at least ``epoch``, ``seconds`` and ``valid_ndcg_at_10``; may be empty.
        info: what the run shows: method, settings that were chosen, ``best_epoch``, ``valid_ndcg_at_10``, seconds.
        extra: further tensors that belong to it, by name (LightGCN: ``raw_users``, ``raw_items``).
        trajectory: best items of every user at several points of the training, (points, n_users, K) int32, earliest
            first, −1 where there are no more; only of a teacher that was asked for it.
        full: the model itself where it is more than ``features``.
    """

    kind: ClassVar[str] = "model"
    records: ClassVar[frozenset[str]] = frozenset({"training.json"})

    features: Embeddings
    history: list[HistoryEntry] = field(default_factory=list)
    info: ModelInfo = field(default_factory=ModelInfo)
    extra: dict[str, FloatMatrix] = field(default_factory=dict)
    trajectory: npt.NDArray[np.int32] | None = None
    full: Scorer | None = None

    @property
    def scorer(self) -> Scorer:
        """What ranks."""
        return self.features if self.full is None else self.full

    def __repr__(self) -> str:
        name = self.info.get("kind") or self.info.get("method") or "unnamed"
        ndcg = self.info.get("valid_ndcg_at_10")
        judged = "" if ndcg is None else f", validation NDCG@10 {ndcg:.4f}"
        return f"<TrainedModel {name}: {self.features!r}{judged}>"

    def write(self, folder: Path) -> None:
        """Write ``features.safetensors``, ``origin.json`` and ``training.json``, and if there are any ``extra``, ``trajectory`` and ``scorer.safetensors``.

        ``training.json`` holds times, so it is no part of the digest. What must not be taken for that of another model with
        the same numbers is in ``origin.json`` as well: a student whose best epoch is 0 has those of its start.
        """
        self.features.write(folder)
        if self.extra:
            _save(dict(self.extra), folder / "extra.safetensors")
        if self.trajectory is not None:
            _save({"items": self.trajectory}, folder / "trajectory.safetensors")
        if self.full is not None:
            _save(self.full.arrays(), folder / "scorer.safetensors")
        origin = {name: self.info[name] for name in ORIGIN if name in self.info}  # type: ignore[literal-required]
        (folder / "origin.json").write_text(json.dumps(origin, sort_keys=True))
        (folder / "training.json").write_text(json.dumps({"history": self.history, "info": self.info}))

    @classmethod
    def read(cls, folder: Path) -> TrainedModel:
        """Read what ``write`` wrote."""
        extra, trajectory, full = (folder / f"{name}.safetensors" for name in ("extra", "trajectory", "scorer"))
        training = json.loads((folder / "training.json").read_text())
        return cls(
            features=Embeddings.read(folder),
            history=training["history"],
            info=training["info"],
            extra=load_file(extra) if extra.is_file() else {},
            trajectory=load_file(trajectory)["items"] if trajectory.is_file() else None,
            full=scorer_of(load_file(full)) if full.is_file() else None,
        )
