"""A few users, so that people can see what the numbers stand for: what they had, what they took, and what each model recommends.

Users are named by pseudonyms. What is here says what single people bought: it belongs to the owner's own copy of the report
and to nothing that is passed on, so it is no part of a run's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from freqd.config import EvaluateConfig
from freqd.data.interactions import IdArray, Interactions, Split
from freqd.data.item_table import ItemTable
from freqd.evaluate import Evaluation, top_k
from freqd.evaluate.evaluation import HEADLINE_K, seen_items
from freqd.report.run_result_parts import ModelName, ResultPart
from freqd.scorer import Scorer

MOST = 10
"""Items of a list that are shown."""


class SampleItem(ResultPart):
    """An item as it is shown: its title, or its id where it has none; ``hit`` if the user took it in the test."""

    name: str
    category: str = ""
    hit: bool = False


class SampleUser(ResultPart):
    """One user.

    Attributes:
        name: pseudonym.
        n_had, n_took: items before the test, and in it.
        had: the newest of them, newest first; the first by id where there are no times.
        took: those of the test, likewise.
        lists: the first 10 recommendations of each model.
    """

    name: str
    n_had: int
    n_took: int
    had: tuple[SampleItem, ...]
    took: tuple[SampleItem, ...]
    lists: dict[ModelName, tuple[SampleItem, ...]]


class Samples(ResultPart):
    """The users of a report, least active first; whether their items are in the order of time, and have titles."""

    users: tuple[SampleUser, ...]
    by_time: bool
    titled: bool


@dataclass(frozen=True, eq=False)
class SampleSource:
    """What users are shown from.

    Attributes:
        split: the data.
        config: which items the evaluation masked.
        evaluation: of one of the models; users are drawn from its groups by activity.
        models: the recommenders by name.
        titles: the item table; None: ids are shown.
        pseudonym: what stands for a user's own id.
    """

    split: Split
    config: EvaluateConfig
    evaluation: Evaluation
    models: Mapping[ModelName, Scorer]
    titles: ItemTable | None
    pseudonym: Callable[[str], str]


def draw_samples(source: SampleSource, count: int, rng: np.random.Generator) -> Samples:
    """``count`` users with a test item, in turn from each group by activity, or all if there are fewer."""
    split = source.split
    users = choose_users(source.evaluation, count, rng)
    seen = seen_items(split, source.config)
    targets = split.test.matrix()
    lists = {name: top_k(scorer, seen, HEADLINE_K, users=users)[0] for name, scorer in source.models.items()}
    before = [split.train] if source.config.protocol == "kd-paper" else [split.train, split.valid]
    shown = []
    for row, user in enumerate(users):
        taken = set(targets.indices[targets.indptr[user] : targets.indptr[user + 1]].tolist())
        had, took = newest_first(before, user), newest_first([split.test], user)
        shown.append(
            SampleUser(
                name=source.pseudonym(str(split.user_ids[int(user)])),
                n_had=len(had),
                n_took=len(took),
                had=_items(source, had[:MOST]),
                took=_items(source, took[:MOST]),
                lists={name: _items(source, ranked[row], taken) for name, ranked in lists.items()},
            )
        )
    return Samples(users=tuple(shown), by_time=split.train.time is not None, titled=source.titles is not None)


def choose_users(evaluation: Evaluation, count: int, rng: np.random.Generator) -> IdArray:
    """(<= count,) dense ids: one of each group by activity at random, least active first, then a second of each, and so on."""
    there = np.flatnonzero(evaluation.targets.sum(axis=1))
    order = there[rng.permutation(len(there))]
    groups = evaluation.activity[order]
    turn = np.empty(len(order), np.int64)
    for group in np.unique(groups):
        turn[groups == group] = np.arange(int((groups == group).sum()))
    chosen = order[np.lexsort((groups, turn))[:count]]
    return evaluation.users[chosen[np.argsort(evaluation.activity[chosen], kind="stable")]]


def newest_first(parts: list[Interactions], user: int) -> IdArray:
    """A user's items in some parts, newest first; ascending where there are no times."""
    items = np.concatenate([part.item[part.user == user] for part in parts])
    if any(part.time is None for part in parts):
        return np.sort(items)
    times = np.concatenate([part.time[part.user == user] for part in parts if part.time is not None])
    return items[np.lexsort((items, -times))]


def _items(source: SampleSource, items: IdArray, taken: set[int] | None = None) -> tuple[SampleItem, ...]:
    return tuple(_item(source, int(item), int(item) in (taken or ())) for item in items if item >= 0)


def _item(source: SampleSource, item: int, hit: bool) -> SampleItem:
    own, titles = str(source.split.item_ids[item]), source.titles
    if titles is None:
        return SampleItem(name=own, hit=hit)
    return SampleItem(name=titles.titles[item] or own, category=titles.categories[item] or "", hit=hit)
