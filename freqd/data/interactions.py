"""What ingest produces: interactions over dense ids, in three disjoint parts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from freqd.data.info import Dropped, SplitInfo

IdArray = npt.NDArray[np.int32]
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
LATECOMERS = "latecomers.parquet"
_SOURCE = ("name", "source")
ROWS_OF_A_GROUP = 1 << 22
"""Of the file of interactions."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Which user met which item; a (user, item) pair occurs once.

    Attributes:
        user: (n,) int32 in [0, n_users).
        item: (n,) int32 in [0, n_items).
        n_users, n_items: size of the id space, which other parts may fill.
        time: (n,) int64 seconds since 1970 (UTC), fresh from an ingest that was short of memory int32; or None.
    """

    user: IdArray
    item: IdArray
    n_users: int
    n_items: int
    time: npt.NDArray[np.signedinteger[Any]] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return f"<Interactions: {len(self):,} of {self.n_users:,} users and {self.n_items:,} items>"

    def matrix(self) -> sparse.csr_array:
        """R: (n_users, n_items) binary float32 CSR with sorted, unique column indices."""
        ones = np.ones(len(self.user), np.float32)
        matrix = sparse.csr_array((ones, (self.user, self.item)), shape=(self.n_users, self.n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        matrix.sort_indices()
        return matrix


@dataclass(frozen=True, eq=False)
class Observed:
    """Interactions as they are: cleaned, but neither thinned out nor split.

    Attributes:
        interactions: over provisional ids.
        user_ids, item_ids: (n_users,), (n_items,) the user's own ids as strings; position is the provisional id.
        name: of the source.
        rows_read: rows of the input.
        dropped: rows that cleaning dropped.
    """

    interactions: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    name: str
    rows_read: int
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """Train, validation and test split over one id space, pairwise disjoint.

    Attributes:
        user_ids, item_ids: (n_users,), (n_items,) the user's own ids as strings; position is the dense id.
        info: what the run shows: how it was split, cut times, counts of what was dropped and why.
        latecomers: the pairs that validation and test lost because train has not their user or item: columns user and item,
            the user's own ids, and time where there are times. Only ``freqd.data.everything`` looks at them.
    """

    kind: ClassVar[str] = "split"
    records: ClassVar[frozenset[str]] = frozenset({"source.json"})

    train: Interactions
    valid: Interactions
    test: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    info: SplitInfo = field(default_factory=SplitInfo)
    latecomers: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"user": pl.String, "item": pl.String})
    )

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(self.part(name)):,}" for name in PARTS)
        return f"<Split of {self.n_users:,} users and {self.n_items:,} items: {parts}>"

    @property
    def n_users(self) -> int:
        """Number of users."""
        return self.train.n_users

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.train.n_items

    def part(self, name: Part) -> Interactions:
        """One part by its name."""
        parts: dict[Part, Interactions] = {"train": self.train, "valid": self.valid, "test": self.test}
        return parts[name]

    def write(self, folder: Path) -> None:
        """Write ``interactions.parquet`` (with a ``part`` column), the id maps and ``info.json``; ``latecomers.parquet`` if there are any."""
        frames = []
        for name in PARTS:
            part = self.part(name)
            frame = pl.LazyFrame({"user": part.user, "item": part.item})
            if part.time is not None:
                frame = frame.with_columns(time=pl.Series(part.time)).cast({"time": pl.Int64})
            frames.append(frame.with_columns(part=pl.lit(name)))
        file = folder / "interactions.parquet"  # not as a whole: the names of the parts take more memory than all else
        pl.concat(frames, how="diagonal").sink_parquet(file, statistics=False, row_group_size=ROWS_OF_A_GROUP)
        pl.DataFrame({"id": self.user_ids}).write_parquet(folder / "users.parquet", statistics=False)
        pl.DataFrame({"id": self.item_ids}).write_parquet(folder / "items.parquet", statistics=False)
        if len(self.latecomers):
            self.latecomers.write_parquet(folder / LATECOMERS, statistics=False)
        info = self.info.as_dict()
        source = {name: info.pop(name, None) for name in _SOURCE}
        (folder / "info.json").write_text(json.dumps(info, sort_keys=True))
        (folder / "source.json").write_text(json.dumps(source))

    @classmethod
    def read(cls, folder: Path) -> Split:
        """Read what ``write`` wrote."""
        frame = pl.read_parquet(folder / "interactions.parquet")
        user_ids = pl.read_parquet(folder / "users.parquet")["id"]
        item_ids = pl.read_parquet(folder / "items.parquet")["id"]

        def part(name: Part) -> Interactions:
            rows = frame.filter(pl.col("part") == name)
            time = rows["time"].to_numpy() if "time" in rows.columns else None
            return Interactions(rows["user"].to_numpy(), rows["item"].to_numpy(), len(user_ids), len(item_ids), time)

        info = json.loads((folder / "info.json").read_text())
        source = folder / "source.json"  # splits of earlier versions have it among the rest
        if source.is_file():
            info |= {name: value for name, value in json.loads(source.read_text()).items() if value is not None}
        late = {"latecomers": pl.read_parquet(folder / LATECOMERS)} if (folder / LATECOMERS).is_file() else {}
        return cls(
            part("train"), part("valid"), part("test"), user_ids, item_ids, SplitInfo.model_validate(info), **late
        )
