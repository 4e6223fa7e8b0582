"""A model of an earlier run, seen from the rows of the present one: where a training may start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows, count_leaked_targets
from freqd.embeddings import Embeddings, StartInfo, TrainedModel
from freqd.errors import InputError, LeakError
from freqd.teachers.als import AlsHyperparameters


@dataclass(frozen=True, eq=False)
class PreviousModel:
    """An earlier model and the way from its rows to those of now.

    Attributes:
        model: features of the earlier users and items.
        users, items: where those are now.
    """

    model: TrainedModel
    users: Rows
    items: Rows

    @classmethod
    def of(cls, model: TrainedModel, before: Split, now: Split) -> Self:
        """Match the ids of the model's split with those of the present one.

        Raises:
            LeakError: the model was refitted on all interactions, so it has seen what the present one will be judged by.
        """
        if model.info.get("refit"):
            raise LeakError(
                "a refitted model has seen what this one is chosen and judged by; start from its judged twin"
            )
        return cls(model, Rows.of(before.user_ids, now.user_ids), Rows.of(before.item_ids, now.item_ids))

    def move(self, table: Embeddings) -> Embeddings:
        """Tables of the earlier rows in the order of now; zeros where a row is new."""
        return Embeddings(self.users.move(table.users), self.items.move(table.items))

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows that are kept, new and gone, of both sides."""
        return {"users": self.users.counts(), "items": self.items.counts()}


def als_point(model: TrainedModel, config: TeacherConfig) -> AlsHyperparameters:
    """The setting of an earlier ALS teacher, which must be one that is asked for now.

    Raises:
        InputError: the earlier teacher is of another kind, or its setting is not among those of ``config``.
    """
    kind = model.info.get("kind")
    if kind != "als":
        raise InputError(
            f"the run to start from has a teacher of kind {kind}, and now teacher.kind is als",
            "set start.run=none, or start from a run with an ALS teacher",
        )
    point = AlsHyperparameters(model.info["factors"], model.info["regularization"], model.info["alpha"])
    for name in ("factors", "regularization", "alpha"):
        value, asked = getattr(point, name), getattr(config, name)
        if value not in asked:
            raise InputError(
                f"the run to start from has a teacher with {name} {value:g}, and teacher.{name} is "
                f"{', '.join(f'{one:g}' for one in asked)}",
                f"add {value:g} to teacher.{name}, or set start.run=none for a new search",
            )
    return point


def incompatibility(before: Split, now: Split) -> str:
    """Why nothing of a model of ``before`` may go into a model of ``now``; empty if it may."""
    users, items = Rows.of(before.user_ids, now.user_ids), Rows.of(before.item_ids, now.item_ids)
    for rows, name in ((users, "user"), (items, "item")):
        if not rows.known.any():
            return f"it has no {name} in common with this data"
    known = count_leaked_targets(before, now, users, items)
    if known:
        return (
            f"it has seen {known:,} of the interactions by which this run is chosen and judged "
            "(its data reach further, or were split in another way)"
        )
    return ""


def warm_start_info(previous: PreviousModel, how: StartInfo) -> StartInfo:
    """What a model that started from ``previous`` tells of it: ``how`` it went, and how many rows could be used."""
    return {**how, "rows": previous.counts()}
