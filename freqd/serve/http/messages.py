"""What goes over the wire: questions, answers and refusals, and how much a question may ask for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar.exceptions import HTTPException

from freqd.serve.recommender import Answer

MAX_K = 1000
MAX_USERS = 1000
MAX_EVENTS = 1000
LONGEST_ID = 1000
"""Characters of an id of an event."""
MAX_LIST = 10_000
"""Ids in each of the lists of a question."""

Id = str | int


class Scored(msgspec.Struct):
    """An item and its score."""

    item: str
    score: float


class Recommendation(msgspec.Struct, omit_defaults=True):
    """The answer for one user."""

    user: str | None
    source: str
    items: list[Scored]
    model: str
    version: str
    unknown_items: list[str] = []


class Recommendations(msgspec.Struct):
    """The answers for many users, in the order of the question. ``version``: null where a challenger answers some of them."""

    model: str
    version: str | None
    answers: list[Recommendation]


class Similar(msgspec.Struct):
    """Items like one item, by cosine."""

    item: str
    items: list[Scored]
    model: str
    version: str


class Problem(msgspec.Struct):
    """Why a request was refused."""

    status: int
    error: str


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to recommend to, and what may be recommended.

    ``users``: own ids. ``history``: items that a new user has met; with at most one user. Neither: what is popular.
    """

    users: list[Id] | None = None
    history: list[Id] | None = None
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = 20
    exclude_seen: bool = True
    allow: list[Id] | None = None
    deny: list[Id] | None = None

    def check(self) -> None:
        """See that it asks for no more than is answered.

        Raises:
            HTTPException: it does.
        """
        for name, most in (("users", MAX_USERS), ("history", MAX_LIST), ("allow", MAX_LIST), ("deny", MAX_LIST)):
            given = len(getattr(self, name) or ())
            if given > most:
                raise HTTPException(f"{name}: {given} are given, at most {most} are taken", status_code=400)
        if self.history is not None and len(self.users or ()) > 1:
            raise HTTPException("history: it is one user's, but users names more than one", status_code=400)


OwnId = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)] | int


class Happened(msgspec.Struct, forbid_unknown_fields=True):
    """What a user was shown or did. ``version``: as the answer said that recommended it. ``time``: seconds since 1970; now if left out."""

    user: OwnId
    item: OwnId
    event: Literal["impression", "click", "purchase"]
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    time: Annotated[float, msgspec.Meta(ge=0.0, le=1e11)] | None = None
    position: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


class Events(msgspec.Struct, forbid_unknown_fields=True):
    """A batch of events; all of it is kept, or none."""

    events: Annotated[list[Happened], msgspec.Meta(min_length=1, max_length=MAX_EVENTS)]


class Taken(msgspec.Struct):
    """How many events were kept."""

    taken: int


class Bare(msgspec.Struct):
    """All that is shown without the token: ``ok`` or ``degraded``."""

    status: str


class Health(msgspec.Struct, omit_defaults=True):
    """What is served, and what stands in the way of the newest version.

    ``status``: ``ok``, or ``degraded``: an older version answers because the newest is broken or the registry is away.
    ``challenger_version`` answers ``challenger_share`` of the users.
    ``index``: ``exact``, or ``faiss``: then ``index_recall`` is the share of the exact top 20 that it finds.
    """

    status: str
    model: str
    alias: str | None
    version: str
    users: int
    items: int
    dim: int
    freqd: str
    index: str
    index_recall: float | None = None
    index_build_seconds: float | None = None
    rejected_version: str | None = None
    rejected_reason: str | None = None
    registry_error: str | None = None
    challenger_version: str | None = None
    challenger_share: float | None = None


def scored(answer: Answer) -> list[Scored]:
    """The items of an answer with their scores, best first."""
    return [Scored(item, score) for item, score in zip(answer.items, answer.scores, strict=True)]


def texts(ids: list[Id] | None) -> list[str] | None:
    """Ids as the model has them; None stays None."""
    return None if ids is None else [str(value) for value in ids]
