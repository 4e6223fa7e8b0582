"""A model on a window that came after it, as it would be served then.

What a model does not know counts against it as it would in production: a user who came after it gets what was most
popular when it was made, and an item that came after it is never recommended. What nobody could have known when the
window began counts against no model: users and items that the newest model, made right before the window, does not know
are left out, as in the test split of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from freqd.cadence.timeline import Timeline, Window
from freqd.config import EvaluateConfig
from freqd.data.interactions import Interactions, Split
from freqd.data.realign import Rows
from freqd.evaluate import Evaluation, evaluate
from freqd.progress import Progress, silent
from freqd.serve.recommender import Recommender


class WindowCounts(BaseModel):
    """What is in a window, and what of it a model knows.

    Attributes:
        pairs: new (user, item) pairs; ``unknown_user_pairs`` and ``unknown_item_pairs`` are those of users and with items that
            the model does not know.
        users, items: how many different ones; ``unknown_users``, ``unknown_items`` of them the model does not know.
        judged_users, judged_pairs: what the report is over; ``judged_known_users`` those of them that the model knows.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    unknown_user_pairs: int
    unknown_item_pairs: int
    users: int
    items: int
    unknown_users: int
    unknown_items: int
    judged_users: int
    judged_known_users: int
    judged_pairs: int


@dataclass(frozen=True)
class Judged:
    """A model on a window.

    Attributes:
        report: of the users that the newest model knows; None if none of them did anything that can be judged.
        counts: what is in the window.
    """

    report: Evaluation | None
    counts: WindowCounts


@dataclass(frozen=True, eq=False)
class Question:
    """What all models of a window are asked.

    Attributes:
        timeline: all interactions.
        window: whose pairs are the targets.
        newest: the split of the model made right before the window; the report's users are its rows.
    """

    timeline: Timeline
    window: Window
    newest: Split


def judge_window(
    question: Question,
    recommender: Recommender,
    config: EvaluateConfig,
    *,
    progress: Progress = silent,
) -> Judged:
    """Rank for the users of the window as a model made earlier would, with what they had by then masked.

    Protocol ``standard``: full ranking, mean over the users with a target. Masked is what a user had when the window
    began, whether or not the model had seen it, so that all models of a window are asked the same.

    Args:
        question: the window.
        recommender: the judged model.
        config: cut-offs.
        progress: as in ``evaluate``.
    """
    timeline, newest = question.timeline, question.newest
    begin, end = question.window.seconds
    found, time = timeline.interactions, timeline.time
    user = Rows.of(newest.user_ids, timeline.user_ids).source[found.user]
    item = Rows.of(newest.item_ids, timeline.item_ids).source[found.item]
    could_be_known = (user >= 0) & (item >= 0)
    within = (time >= begin) & (time < end)
    known_user = Rows.of(recommender.user_ids, timeline.user_ids).known
    known_item = Rows.of(recommender.item_ids, timeline.item_ids).known
    asked = within & could_be_known

    users, items = found.user[within], found.item[within]
    counts = WindowCounts(
        pairs=int(within.sum()),
        unknown_user_pairs=int((~known_user[users]).sum()),
        unknown_item_pairs=int((~known_item[items]).sum()),
        users=len(np.unique(users)),
        items=len(np.unique(items)),
        unknown_users=int((~known_user[np.unique(users)]).sum()),
        unknown_items=int((~known_item[np.unique(items)]).sum()),
        judged_users=len(np.unique(found.user[asked])),
        judged_known_users=len(np.unique(found.user[asked & known_user[found.user]])),
        judged_pairs=int(asked.sum()),
    )
    if not asked.any():
        return Judged(None, counts)

    def part(rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Interactions:
        both = (user[rows].astype(np.int32), item[rows].astype(np.int32))
        return Interactions(*both, newest.n_users, newest.n_items, time[rows])

    nothing = np.zeros(len(time), np.bool_)
    split = Split(part(could_be_known & (time < begin)), part(nothing), part(asked), newest.user_ids, newest.item_ids)
    placed = recommender.placed(newest.user_ids, newest.item_ids)
    standard = config.model_copy(update={"protocol": "standard"})
    return Judged(evaluate(placed, split, standard, progress=progress), counts)
