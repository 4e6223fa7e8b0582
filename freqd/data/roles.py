"""Which column means what: by the user's option, else by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from freqd.config import ColumnConfig
from freqd.errors import InputError

Role = Literal["user", "item", "time", "weight"]
ROLES: tuple[Role, ...] = ("user", "item", "time", "weight")
IGNORE = "none"

# Best first: a file with both user_id and session_id means the user; names are compared without case and punctuation.
_NAMES: dict[Role, tuple[str, ...]] = {
    "user": (
        *("user", "userid", "uid", "useridx", "usercode", "username"),
        *(
            "customer",
            "customerid",
            "customernumber",
            "customerno",
            "custid",
            "clientid",
            "client",
            "shopperid",
            "buyerid",
        ),
        *("household", "householdid", "householdkey", "member", "memberid", "subscriberid", "accountid", "account"),
        *(
            "visitor",
            "visitorid",
            "viewerid",
            "readerid",
            "reviewerid",
            "personid",
            "profileid",
            "patientid",
            "studentid",
        ),
        *("session", "sessionid", "deviceid", "cookieid", "basketid", "orderid", "invoiceno", "invoice"),
    ),
    "item": (
        *("item", "itemid", "iid", "itemidx", "itemcode"),
        *(
            "product",
            "productid",
            "productcode",
            "productno",
            "sku",
            "skuid",
            "asin",
            "parentasin",
            "articleid",
            "article",
        ),
        *(
            "stockcode",
            "movie",
            "movieid",
            "film",
            "filmid",
            "book",
            "bookid",
            "isbn",
            "song",
            "songid",
            "track",
            "trackid",
        ),
        *(
            "artist",
            "artistid",
            "game",
            "gameid",
            "appid",
            "videoid",
            "showid",
            "contentid",
            "newsid",
            "docid",
            "documentid",
        ),
        *(
            "recipeid",
            "courseid",
            "listingid",
            "businessid",
            "locationid",
            "venueid",
            "placeid",
            "poiid",
            "adid",
            "url",
        ),
    ),
    "time": (
        *(
            "timestamp",
            "time",
            "ts",
            "datetime",
            "unixtime",
            "unixreviewtime",
            "eventtime",
            "eventtimestamp",
            "createdat",
        ),
        *(
            "created",
            "transactiontimestamp",
            "transactiontime",
            "transactiondate",
            "tdat",
            "purchasedate",
            "purchasetime",
        ),
        *("orderdate", "invoicedate", "reviewtime", "reviewdate", "checkintime", "date", "day", "eventdate"),
    ),
    "weight": (
        *("rating", "ratings", "stars", "score", "overall", "weight", "quantity", "qty", "count", "plays", "playcount"),
        *("clicks", "value", "strength"),
    ),
}
_OPTIONAL: frozenset[Role] = frozenset({"time", "weight"})


@dataclass(frozen=True)
class Columns:
    """The column of every role (``time`` and ``weight`` may be missing) and the roles that were guessed."""

    user: str
    item: str
    time: str | None
    weight: str | None
    guessed: tuple[Role, ...]

    def as_dict(self) -> dict[str, str | None]:
        """The mapping that a run shows."""
        return {"user": self.user, "item": self.item, "time": self.time, "weight": self.weight}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def guess(role: Role, names: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The column that most likely has this role, or None."""
    free = {_plain(name): name for name in reversed(names) if name not in taken}
    return next((free[known] for known in _NAMES[role] if known in free), None)


def resolve(wanted: ColumnConfig, names: Sequence[str], place: str) -> Columns:
    """Find the column of every role among ``names``, the columns of the file(s) ``place``.

    Raises:
        InputError: a named column does not exist, one column has two roles, or no user or item column is found.
    """
    found: dict[Role, str | None] = {}
    guessed: list[Role] = []
    for role in ROLES:
        name: str | None = getattr(wanted, role)
        if name is not None and name.lower() == IGNORE and role in _OPTIONAL:
            found[role] = None
        elif name is not None:
            found[role] = _named(role, name, names, place)
    for role in ROLES:
        if role not in found:
            found[role] = guess(role, names, [name for name in found.values() if name])
            if found[role]:
                guessed.append(role)
    for role in ("user", "item"):
        if found[role] is None:
            raise InputError(
                f"{place}: no column looks like the {role}; its columns are {_listed(names)}",
                f"name it: --set data.columns.{role}=COLUMN{_hint(role, names)}",
            )
    used = [name for name in found.values() if name]
    twice = next((name for name in used if used.count(name) > 1), None)
    if twice is not None:
        roles = ", ".join(role for role in ROLES if found[role] == twice)
        raise InputError(f"column '{twice}' is named for several roles: {roles}", "give each role its own column")
    assert found["user"] is not None
    assert found["item"] is not None
    return Columns(found["user"], found["item"], found["time"], found["weight"], tuple(guessed))


def _named(role: Role, name: str, names: Sequence[str], place: str) -> str:
    if name in names:
        return name
    same = [other for other in names if other.lower() == name.lower()]
    if len(same) == 1:
        return same[0]
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; close to it: {_listed(close)}" if close else ""
    raise InputError(
        f"{place}: there is no column '{name}' (wanted as {role}); its columns are {_listed(names)}{hint}",
        f"set data.columns.{role} to one of them",
    )


def _hint(role: Role, names: Sequence[str]) -> str:
    # Polars makes equal names differ by a suffix, and a line of data often holds a number twice.
    if names and all(re.fullmatch(r"[-+.\d]+(_duplicated_\d+)?", name.strip()) for name in names):
        return "; the first line seems to be data: add a header line such as user,item,timestamp"
    close = [name for name in names if get_close_matches(_plain(name), _NAMES[role], n=1, cutoff=0.6)]
    return f" (perhaps {_listed(close)})" if close else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:30])
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")
