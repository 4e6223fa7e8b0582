"""The users of a report as it shows them: one table each, a column what they had, took and were recommended by each model."""

from __future__ import annotations

from itertools import zip_longest
from typing import NamedTuple

from freqd import numbers as fmt
from freqd.report.palette import ROLES
from freqd.report.samples import MOST, SampleItem, Samples, SampleUser


class SampleView(NamedTuple):
    """One user: a heading, the columns' heads, and rows of cells, None where a list has ended."""

    name: str
    heading: str
    header: list[str]
    rows: list[tuple[SampleItem | None, ...]]


class SamplesView(NamedTuple):
    """All users, and how to read them."""

    lead: str
    users: list[SampleView]


def samples_view(samples: Samples) -> SamplesView:
    """The samples for the page."""
    order = "newest first" if samples.by_time else "in the order of their ids, since the data have no times"
    untitled = "" if samples.titled else " Items are shown by their ids; `data.items` gives them titles."
    return SamplesView(
        f"Some users, drawn at random from each group by activity, under pseudonyms: what they had before the test and what they "
        f"took in it, at most {MOST} of each, {order}; and what each model would have shown them. A tick marks what they then took. A few "
        f"users prove nothing: the numbers above do. This section is in this copy of the report only.{untitled}",
        [_view(user) for user in samples.users],
    )


def _view(user: SampleUser) -> SampleView:
    roles = [role for role in ROLES if role.key in user.lists]
    lists = [user.lists[role.key] for role in roles]
    hits = [sum(item.hit for item in found) for found in lists]
    models = [f"{role.label} ({hit} {'hit' if hit == 1 else 'hits'})" for role, hit in zip(roles, hits, strict=True)]
    had, took = fmt.count(user.n_had), fmt.count(user.n_took)
    return SampleView(
        name=user.name,
        heading=f"{user.name}: {had} {_items(user.n_had)} before, {took} in the test",
        header=["Had", "Took in the test", *models],
        rows=list(zip_longest(user.had, user.took, *lists)),
    )


def _items(count: int) -> str:
    return "item" if count == 1 else "items"
