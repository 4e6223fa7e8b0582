"""Which column means what: by the user's option, else by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from freqd.config import ColumnConfig
from freqd.data.files import DataFile, unreadable
from freqd.data.layout import DUPLICATED
from freqd.data.quality import CleaningReport
from freqd.data.sources import Source
from freqd.errors import InputError

Role = Literal["user", "item", "time", "weight"]
ROLES: tuple[Role, ...] = ("user", "item", "time", "weight")
IGNORE = "none"

# Best first; names are compared without case and punctuation. What is called an id comes before what may be a name
# (user_id before user), and people before their sessions and orders.
_NAMES: dict[Role, tuple[str, ...]] = {
    "user": (
        *("userid", "uid", "useridx", "usercode", "usernumber", "userno", "usernr"),
        *(
            "customerid",
            "customernumber",
            "customerno",
            "customernr",
            "customercode",
            "custid",
            "clientid",
            "shopperid",
            "buyerid",
        ),
        *("householdid", "householdkey", "memberid", "subscriberid", "accountid", "visitorid", "viewerid", "readerid"),
        *("reviewerid", "personid", "profileid", "patientid", "studentid"),
        *("user", "username", "customer", "client", "shopper", "buyer", "household", "member", "subscriber", "account"),
        *("visitor", "viewer", "reader", "reviewer", "person"),
        *("sessionid", "session", "deviceid", "cookieid", "basketid", "orderid", "invoiceno", "invoice"),
    ),
    "item": (
        *("itemid", "iid", "itemidx", "itemcode", "itemno", "itemnr"),
        *("productid", "productcode", "productno", "productnumber", "productnr", "sku", "skuid", "asin", "parentasin"),
        *(
            "articleid",
            "articleno",
            "articlenumber",
            "articlenr",
            "stockcode",
            "movieid",
            "filmid",
            "bookid",
            "isbn",
            "songid",
        ),
        *("trackid", "artistid", "gameid", "appid", "videoid", "showid", "contentid", "newsid", "docid", "documentid"),
        *("recipeid", "courseid", "listingid", "businessid", "locationid", "venueid", "placeid", "poiid", "adid"),
        *("item", "product", "article", "movie", "film", "book", "song", "track", "artist", "game", "video", "url"),
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
_DEED_TIME = re.compile(
    "(?:purchase|buy|order|sale|transaction|event|interaction|view|click|watch|play|listen|read|rating|rate|review|visit|checkin|add|"
    "create|log|book|download|stream|scrobble|purchased|bought|ordered|sold|viewed|clicked|watched|played|listened|rated|reviewed|"
    "visited|added|created|occurred|logged|booked|downloaded|streamed|scrobbled|time)"
    "(?:at|on|time|date|datetime|timestamp|ts|day|utc|epoch|unix)"
    "|purchased|bought|ordered|sold|viewed|clicked|watched|played|listened|visited|occurred|logged"
)
"""Names of the time of a deed, such as bought_at, viewed_on, order_ts: not those of a birth or a release."""
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


def first_known(known: Sequence[str], names: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The first of the known names, best first, that a column has, case and punctuation aside; None if no column has one."""
    free = {_plain(name): name for name in reversed(names) if name not in taken}
    return next((free[name] for name in known if name in free), None)


def guess(role: Role, names: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The column that most likely has this role, or None."""
    found = first_known(_NAMES[role], names, taken)
    if found is None and role == "time":
        found = next((name for name in names if name not in taken and _DEED_TIME.fullmatch(_plain(name))), None)
    return found


def resolve(wanted: ColumnConfig, names: Sequence[str], place: str) -> Columns:
    """Find the column of every role among ``names``, the columns of the file(s) ``place``.

    Raises:
        InputError: a named column does not exist, one column has two roles, or no user or item column is found.
    """
    found: dict[Role, str | None] = {}
    guessed: list[Role] = []
    for role in ROLES:
        name: str | int | None = getattr(wanted, role)
        if isinstance(name, int):
            found[role] = _at(role, name, names, place)
        elif name is not None and name.lower() == IGNORE and role in _OPTIONAL:
            found[role] = None
        elif name is not None:
            found[role] = _named(role, name, names, place)
        elif wanted.by_position:
            found[role] = None
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
    for role, name in found.items():
        if name is not None and any(other.startswith(f"{name}{DUPLICATED}") for other in names):
            raise InputError(
                f"{place}: more than one column is called '{name}', which is to be the {role}",
                "give each column a name of its own",
            )
    assert found["user"] is not None
    assert found["item"] is not None
    return Columns(found["user"], found["item"], found["time"], found["weight"], tuple(guessed))


def common_columns(source: Source, schemas: dict[int, pl.Schema], ledger: CleaningReport) -> tuple[Columns, list[str]]:
    """The columns, which all files have, and those that are left out because one of them has not."""
    files = source.all_files()
    union = list(dict.fromkeys(name for file in files for name in schemas[id(file)].names()))
    columns = resolve(source.columns, union, files[0].label)
    ignored: list[str] = []
    for file in files:
        names = schemas[id(file)].names()
        for role, name in columns.as_dict().items():
            if name is None or name in names:
                continue
            other = next(o.label for o in files if name in schemas[id(o)].names())
            if role in {"time", "weight"} and role in columns.guessed:
                ledger.warnings.append(
                    f"column '{name}' ({role}) is ignored: {file.label} does not have it, while {other} does"
                )
                ignored.append(name)
                kept = tuple(other for other in columns.guessed if other != role)
                others = {**columns.as_dict(), role: None}
                columns = replace(columns, time=others["time"], weight=others["weight"], guessed=kept)
                continue
            raise InputError(
                f"{file.label}: there is no column '{name}', which {other} has; its columns are {', '.join(names)}",
                "give files with the same columns",
            )
    return columns, ignored


def refuse_header(file: DataFile, columns: Columns) -> None:
    """Columns named by their places mean that the first line is data: see that it is.

    Raises:
        InputError: it seems to be a header.
    """
    try:
        head = file.scan().head(2).collect()
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    first = [str(value).strip().strip('"') for value in head.row(0)]
    names = {role: first[head.columns.index(name)] for role, name in columns.as_dict().items() if name is not None}
    known = [role for role in ("user", "item") if guess(role, [names[role]]) is not None]
    counted = first == [str(n) for n in range(len(first))] and len(first) > 1 and head.height > 1
    if known or (counted and list(head.row(1)) != first and file.form == "text"):
        raise InputError(
            f"{file.label}: columns are named by their places, which is for files without a header, but the first line seems to "
            f"be one: {', '.join(first)}",
            f"name the columns as it does, for example --set data.columns.user={names['user']}, or take that line out",
        )


def _at(role: Role, position: int, names: Sequence[str], place: str) -> str:
    if position > len(names):
        raise InputError(
            f"{place}: data.columns.{role} = {position}, but there are only {len(names)} columns",
            f"give a number from 1 to {len(names)}",
        )
    return names[position - 1]


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
        return (
            "; the first line seems to be data: add a header line such as user,item,timestamp, or name the columns by their "
            "places, for example --set data.columns.user=1 data.columns.item=2; if each line is a user and the items of that user, say data.layout=adjacency"
        )
    close = [name for name in names if get_close_matches(_plain(name), _NAMES[role], n=1, cutoff=0.6)]
    return f" (perhaps {_listed(close)})" if close else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:30])
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")
