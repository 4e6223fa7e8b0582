"""A model as it is deployed: features, the users' own ids and what each user has already seen, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from freqd.data.interactions import Split
from freqd.data.realign import Rows
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.scorer import Scorer
from freqd.serve.top_k_index import Candidates, Ranking, TopKIndex

Source = Literal["model", "fold-in", "popularity", "similarity"]

SMOKE_USERS = 8
SMOKE_ITEMS = 10
UNKNOWN_ITEM_SCORE = -1e9
"""Of an item that the model does not know, so that it is never recommended."""


class Answer(NamedTuple):
    """Items by their own ids, best first, and where they come from.

    Attributes:
        items: shorter than asked for where there are not enough candidates.
        scores: inner products; for popularity how often an item was met; for similarity cosines.
        source: ``model`` (a known user's features), ``fold-in`` (features made from a history), ``popularity`` or
            ``similarity``.
        unknown_items: items of the question that the model does not know; it answered as if they had not been named.
    """

    items: list[str]
    scores: list[float]
    source: Source
    unknown_items: list[str]


class Lists(NamedTuple):
    """The lists of a question by rows: items met, candidates (None: all items) or items left out, and unknown ids."""

    met: list[int]
    allowed: Candidates | None
    denied: list[int] | None
    unknown: list[str]


@dataclass(frozen=True, eq=False)
class Recommender:
    """Everything that is needed to recommend.

    Attributes:
        features: (n_users, d), (n_items, d).
        user_ids, item_ids: the user's own ids as strings, position is the row of the features.
        seen: (n_users, n_items) binary CSR of the interactions known when the model was made.
        full: the model itself where it is more than ``features``, as of a teacher; such a one is not written to files.
    """

    kind: ClassVar[str] = "bundle"
    records: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[dict[str, str]] = {
        "user": "string", "rank": "long", "item": "string", "score": "double", "source": "string",
    }  # fmt: skip
    """Columns of ``recommend``."""

    features: Embeddings
    user_ids: pl.Series
    item_ids: pl.Series
    seen: sparse.csr_array
    full: Scorer | None = None

    @classmethod
    def of(cls, features: Embeddings, split: Split, full: Scorer | None = None) -> Recommender:
        """The recommender of a model trained on ``split``; all known interactions count as seen."""
        known = split.train.matrix() + split.valid.matrix() + split.test.matrix()
        return cls(features, split.user_ids, split.item_ids, sparse.csr_array(known), full)

    # -- files ------------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write features, ids and seen items.

        Raises:
            ValueError: the model is more than its features.
        """
        if self.full is not None:
            raise ValueError("a model that is more than its features is not written as a recommender")
        self.features.write(folder)
        pl.DataFrame({"id": self.user_ids}).write_parquet(folder / "users.parquet", statistics=False)
        pl.DataFrame({"id": self.item_ids}).write_parquet(folder / "items.parquet", statistics=False)
        sparse.save_npz(folder / "seen.npz", self.seen)

    @classmethod
    def read(cls, folder: Path) -> Recommender:
        """Read what ``write`` wrote; the item features column by column in memory, which scores fastest."""
        features = Embeddings.read(folder)
        return cls(
            features=Embeddings(features.users, np.asfortranarray(features.items)),
            user_ids=pl.read_parquet(folder / "users.parquet")["id"],
            item_ids=pl.read_parquet(folder / "items.parquet")["id"],
            seen=sparse.load_npz(folder / "seen.npz"),
        )

    @classmethod
    def find(cls, model: Path) -> Path:
        """The recommender's folder in a registered model: MLflow keeps the name of the folder that it copied.

        Raises:
            FileNotFoundError: there is none.
        """
        for found in sorted((model / "artifacts").glob("*/features.safetensors")):
            return found.parent
        raise FileNotFoundError(f"there are no features below {model / 'artifacts'}")

    def check(self) -> None:
        """Prove that the recommender can answer: its parts fit together, and a few questions get sensible answers.

        Raises:
            ValueError: it cannot, and why.
        """
        shape = (len(self.features.users), len(self.features.items))
        if not all(shape):
            raise ValueError(f"the model has {shape[0]} users and {shape[1]} items")
        if (len(self.user_ids), len(self.item_ids)) != shape:
            raise ValueError(f"{len(self.user_ids)} user and {len(self.item_ids)} item ids for features of {shape}")
        if self.seen.shape != shape:
            raise ValueError(f"seen items of shape {self.seen.shape} for features of {shape}")
        for side, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if ids.null_count() or ids.n_unique() != len(ids):
                raise ValueError(f"the {side} ids are not unique")
        for side, table in (("user", self.features.users), ("item", self.features.items)):
            if not np.isfinite(table).all():
                raise ValueError(f"the {side} features are not all finite")
        asked = np.unique(np.linspace(0, shape[0] - 1, SMOKE_USERS).astype(int))
        everybody: list[tuple[str | None, list[str]]] = [(str(self.user_ids[int(row)]), []) for row in asked]
        for user, history in [*everybody, (None, [str(self.item_ids[0])]), (None, [])]:
            answer = self.ask(user, history=history, k=SMOKE_ITEMS, exclude_seen=False)
            expected = min(SMOKE_ITEMS, shape[1] - len(history))
            short = len(answer.items) != expected and self.full is None  # lists from outside may be shorter
            if short or not np.isfinite(answer.scores).all():
                raise ValueError(f"the model gave {len(answer.items)} of {expected} items to a trial question")

    # -- look-up ----------------------------------------------------------------------------------

    @cached_property
    def index(self) -> TopKIndex:
        """Exact top-k over the features."""
        return TopKIndex(self.features, self.seen, full=self.full)

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """Row of each user by the user's own id."""
        return {str(u): row for row, u in enumerate(self.user_ids)}

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """Row of each item by its own id."""
        return {str(i): row for row, i in enumerate(self.item_ids)}

    @cached_property
    def item_names(self) -> npt.NDArray[np.object_]:
        """(n_items,) own id of each item as a Python string."""
        return np.array([str(i) for i in self.item_ids], dtype=object)

    # -- questions --------------------------------------------------------------------------------

    def ask(
        self,
        user: str | None = None,
        *,
        history: Sequence[str] | None = None,
        k: int = 20,
        exclude_seen: bool = True,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Answer:
        """The best items for one user, by own ids.

        A known user is answered from the user's features. Anybody else is folded in from ``history``; without a
        history that the model knows anything of, the most popular items are the answer.

        Args:
            user: the user's own id; None: nobody in particular.
            history: items that an unknown user has met; never recommended to that user.
            k: length of the list.
            exclude_seen: leave out what a known user had met when the model was made.
            allow: only these items; None: all.
            deny: none of these items.

        Raises:
            InputError: ``k`` is not positive.
        """
        return self.answer(user, self.resolve(history=history, allow=allow, deny=deny), k=k, exclude_seen=exclude_seen)

    def resolve(
        self,
        *,
        history: Sequence[str] | None = None,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] | None = None,
    ) -> Lists:
        """The lists of a question by their rows, once for all users that it asks for; the arguments are those of ``ask``."""
        unknown: list[str] = []
        allowed = None if allow is None else self._rows(allow, unknown)
        denied = None if deny is None else self._rows(deny, unknown)
        met = self._rows(history or (), unknown)
        if allowed is None:
            return Lists(met, None, denied, unknown)
        return Lists(met, self.index.candidates(allowed, denied), None, unknown)

    def answer(self, user: str | None, lists: Lists, *, k: int = 20, exclude_seen: bool = True) -> Answer:
        """As ``ask``, with lists that were resolved before."""
        _positive(k)
        met, allowed, denied, unknown = lists
        row = None if user is None else self.user_rows.get(user)
        source: Source = "model"
        if row is not None and self.features.users[row].any():
            found = self.index.recommend(row, k, exclude_seen=exclude_seen, allow=allowed, deny=denied)
        else:
            vector = self.index.fold_in(met)
            source = "fold-in" if vector.any() else "popularity"
            if row is not None and exclude_seen and source == "popularity":
                found = self.index.recommend(row, k, allow=allowed, deny=[*(denied or []), *met] or None)
            else:
                found = self.index.recommend_vector(vector, k, exclude=met, allow=allowed, deny=denied)
        return self._answer(found, source, unknown)

    def similar(self, item: str, *, k: int = 20) -> Answer:
        """The items whose features point most nearly the same way as those of ``item``.

        Raises:
            InputError: the model does not know the item, or ``k`` is not positive.
        """
        _positive(k)
        row = self.item_rows.get(item)
        if row is None:
            raise InputError(f"the model does not know item {item!r}", "ask for an item that it was trained on")
        return self._answer(self.index.similar(row, k), "similarity", [])

    def recommend(self, users: list[str], *, k: int = 20, exclude_seen: bool = True) -> pl.DataFrame:
        """Top-k of each user: columns user, rank (from 1), item, score, source.

        Unknown users get the most popular items; ``source`` says so.

        Raises:
            InputError: ``k`` is not positive.
        """
        _positive(k)
        rows: dict[str, list[Any]] = {name: [] for name in self.columns}
        for user in users:
            answer = self.ask(user, k=k, exclude_seen=exclude_seen)
            count = len(answer.items)
            rows["user"] += [user] * count
            rows["rank"] += range(1, count + 1)
            rows["item"] += answer.items
            rows["score"] += answer.scores
            rows["source"] += [answer.source] * count
        return pl.DataFrame(rows, schema=FRAME)

    def placed(self, users: pl.Series, items: pl.Series) -> Embeddings:
        """The model in the rows of other ids, to be judged there as it is served: (n_users, d + 2), (n_items, d + 2).

        One more column gives a user who is unknown, or of whom nothing was learnt, an item's popularity as its score; the
        last one gives every item that the model does not know ``UNKNOWN_ITEM_SCORE``.

        Args:
            users, items: own ids, distinct.
        """
        user, item = Rows.of(self.user_ids, users), Rows.of(self.item_ids, items)
        own = user.move(self.features.users)
        stranger = ~own.any(axis=1, keepdims=True)
        popular = np.bincount(self.seen.indices, minlength=self.seen.shape[1]).astype(np.float32)[:, None]
        unknown = np.where(item.known, 0.0, UNKNOWN_ITEM_SCORE).astype(np.float32)[:, None]
        return Embeddings(
            np.hstack([own, stranger.astype(np.float32), np.ones((len(own), 1), np.float32)]),
            np.hstack([item.move(self.features.items), item.move(popular), unknown]),
        )

    def _rows(self, items: Sequence[str], unknown: list[str]) -> list[int]:
        """Rows of the items that are known; the others are appended to ``unknown``."""
        rows = []
        for item in items:
            row = self.item_rows.get(item)
            if row is None:
                unknown.append(item)
            else:
                rows.append(row)
        return rows

    def _answer(self, found: Ranking, source: Source, unknown: list[str]) -> Answer:
        return Answer(self.item_names[found.items].tolist(), found.scores.tolist(), source, unknown)


FRAME: dict[str, type[pl.DataType]] = {
    "user": pl.String,
    "rank": pl.Int64,
    "item": pl.String,
    "score": pl.Float64,
    "source": pl.String,
}
"""Types of ``Recommender.columns`` in a data frame."""


def _positive(k: int) -> None:
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}", "ask for one item or more")
