"""Feature tables: what a recommender is once it is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypedDict

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

FloatMatrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A user's score of an item is the inner product of their rows.

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

    def write(self, folder: Path) -> None:
        """Write ``features.safetensors``."""
        save_file(
            {"users": np.ascontiguousarray(self.users), "items": np.ascontiguousarray(self.items)},
            folder / "features.safetensors",
        )

    @classmethod
    def read(cls, folder: Path) -> Embeddings:
        """Read what ``write`` wrote."""
        tensors = load_file(folder / "features.safetensors")
        return cls(users=tensors["users"], items=tensors["items"])


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
    spectrum: float
    item_degree: float
    learning_rate: float
    weight_decay: float
    batch_size: int
    device: str
    epochs: int
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
    objectives: list[dict[str, object]]
    feature_filters: dict[str, object]
    feature_trials: list[FeatureTrial]
    feature_reason: str
    ranking_filters: dict[str, object]
    brought: dict[str, dict[str, int]]
    weights: dict[str, float]
    reason: str


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained recommender: its features and how it came to be.

    Attributes:
        features: the final (for LightGCN: propagated) features that score.
        history: one entry a validation, at least ``epoch``, ``seconds`` and ``valid_ndcg_at_10``; may be empty.
        info: what the run shows: method, settings that were chosen, ``best_epoch``, ``valid_ndcg_at_10``, seconds.
        extra: further tensors that belong to it, by name (LightGCN: ``raw_users``, ``raw_items``).
        trajectory: best items of every user at several points of the training, (points, n_users, K) int32, earliest
            first, −1 where there are no more; only of a teacher that was asked for it.
    """

    kind: ClassVar[str] = "model"
    records: ClassVar[frozenset[str]] = frozenset({"training.json"})

    features: Embeddings
    history: list[HistoryEntry] = field(default_factory=list)
    info: ModelInfo = field(default_factory=ModelInfo)
    extra: dict[str, FloatMatrix] = field(default_factory=dict)
    trajectory: npt.NDArray[np.int32] | None = None

    def __repr__(self) -> str:
        name = self.info.get("kind") or self.info.get("method") or "unnamed"
        ndcg = self.info.get("valid_ndcg_at_10")
        judged = "" if ndcg is None else f", validation NDCG@10 {ndcg:.4f}"
        return f"<TrainedModel {name}: {self.features!r}{judged}>"

    def write(self, folder: Path) -> None:
        """Write ``features.safetensors`` and ``training.json``; ``extra`` and ``trajectory.safetensors`` if there are any."""
        self.features.write(folder)
        if self.extra:
            save_file({k: np.ascontiguousarray(v) for k, v in self.extra.items()}, folder / "extra.safetensors")
        if self.trajectory is not None:
            save_file({"items": np.ascontiguousarray(self.trajectory)}, folder / "trajectory.safetensors")
        (folder / "training.json").write_text(json.dumps({"history": self.history, "info": self.info}))

    @classmethod
    def read(cls, folder: Path) -> TrainedModel:
        """Read what ``write`` wrote."""
        extra, trajectory = folder / "extra.safetensors", folder / "trajectory.safetensors"
        training = json.loads((folder / "training.json").read_text())
        return cls(
            features=Embeddings.read(folder),
            history=training["history"],
            info=training["info"],
            extra=load_file(extra) if extra.is_file() else {},
            trajectory=load_file(trajectory)["items"] if trajectory.is_file() else None,
        )
