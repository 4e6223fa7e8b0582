"""The result of an evaluation, as an artifact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.interactions import IdArray
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.strata import POPULARITY_GROUPS, Group, GroupCounts

Protocol = Literal["standard", "kd-paper"]
JudgedPart = Literal["valid", "test"]
_COUNTS = ("targets", "hits")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a recommender ranks.

    Attributes:
        metrics: means by name, as ``ndcg_at_10``, and ``coverage_at_10`` and the like, which have no value a user.
        per_user: values (n_users_evaluated,) of each metric that has one a user, in the order of ``users``.
        users: (n_users_evaluated,) dense ids, ascending.
        protocol: what was masked and averaged over; see ``freqd.evaluate.evaluate``.
        part: the part whose interactions are the targets.
        n_users_evaluated: users in the means.
        n_users_skipped: users left out since they have no target (``standard``), or were not to be judged.
        n_users_without_target: users without a target, whether left out or counted as 0 (``kd-paper``).
        groups: ``activity`` (users) and ``popularity`` (items): rows of ``freqd.evaluate.strata``.
        activity: (n_users_evaluated,) group of each user by activity, int64.
        targets, hits: (n_users_evaluated, 3) targets of each user in the head, the middle and the tail, and how many of them
            are among the first 10, int32.
        n_users_not_drawn: users who could be judged and are not in the sample of ``evaluate.users``.
    """

    kind: ClassVar[str] = "report"
    records: ClassVar[frozenset[str]] = frozenset()

    metrics: dict[str, float]
    per_user: dict[str, PerUser]
    users: IdArray
    protocol: Protocol
    part: JudgedPart
    n_users_evaluated: int
    n_users_skipped: int
    n_users_without_target: int
    groups: dict[str, list[Group]]
    activity: npt.NDArray[np.int64]
    targets: GroupCounts
    hits: GroupCounts
    n_users_not_drawn: int = 0

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {self.metrics[name]:.4f}" for name in ("ndcg_at_10", "recall_at_10"))
        return f"<Evaluation of {self.n_users_evaluated:,} users, {self.part}, {self.protocol}: {shown}>"

    def write(self, folder: Path) -> None:
        """Write ``report.json``, ``per_user.parquet`` and ``per_group.parquet``."""
        content = {
            "metrics": self.metrics,
            "protocol": self.protocol,
            "part": self.part,
            "n_users_evaluated": self.n_users_evaluated,
            "n_users_skipped": self.n_users_skipped,
            "n_users_without_target": self.n_users_without_target,
            "n_users_not_drawn": self.n_users_not_drawn,
            "groups": self.groups,
        }
        (folder / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False))
        pl.DataFrame({"user": self.users, **self.per_user}).write_parquet(folder / "per_user.parquet", statistics=False)
        counts = {
            f"{what}_{group}": np.ascontiguousarray(getattr(self, what)[:, n])
            for what in _COUNTS
            for n, group in enumerate(POPULARITY_GROUPS)
        }
        groups = pl.DataFrame({"activity": self.activity, **counts})
        groups.write_parquet(folder / "per_group.parquet", statistics=False)

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read what ``write`` wrote."""
        frame = pl.read_parquet(folder / "per_user.parquet")
        per_user = {name: frame[name].to_numpy() for name in frame.columns if name != "user"}
        groups = pl.read_parquet(folder / "per_group.parquet")
        return cls(
            **json.loads((folder / "report.json").read_text()),
            targets=_counts(groups, "targets"),
            hits=_counts(groups, "hits"),
            per_user=per_user,
            users=frame["user"].to_numpy(),
            activity=groups["activity"].to_numpy(),
        )


def _counts(groups: pl.DataFrame, what: str) -> GroupCounts:
    return groups.select(f"{what}_{group}" for group in POPULARITY_GROUPS).to_numpy()
