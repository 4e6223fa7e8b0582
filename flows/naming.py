"""Names of runs: what somebody gave them, else what they are about and the time.

Prefect gives every run two words such as "sincere-octopus" where nobody typed a name, and does not tell which it was.
So a name of two of its words counts as none.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Any

from coolname.data import config as lists
from prefect import runtime

from freqd.config import DataConfig
from freqd.data.sources import name_of

WORDS: Any = lists
LONGEST = 120
"""Bytes of a name; it is a folder's name too."""
WITHOUT_TIME = 80
"""Bytes of a name to which a date or a time is added."""


def new_name(*data: DataConfig) -> str:
    """Data sets and local time, as a folder's name."""
    return f"{as_folder('-'.join(map(name_of, data)), WITHOUT_TIME)}-{datetime.now():%Y%m%d-%H%M%S}"


def typed_name() -> str:
    """The name that somebody gave the present flow run, on the Prefect page or by its API; empty if nobody did."""
    name = str(runtime.flow_run.name or "").strip()
    return "" if is_generated(name) else name


def is_generated(name: str) -> bool:
    """Whether a name is two of the words that Prefect puts together."""
    first, _, second = name.partition("-")
    adjectives, nouns = _vocabulary()
    return first in adjectives and second in nouns


def as_folder(name: str, longest: int = LONGEST) -> str:
    """The name, with a hyphen for what a folder's name cannot have: separators, control characters, a dot in front.

    What is beyond ``longest`` bytes is cut off.
    """
    safe = re.sub(r"[/\\\x00-\x1f\x7f]", "-", name.strip()).encode()[:longest].decode(errors="ignore")
    return re.sub(r"^\.", "-", safe).strip() or "run"


@cache
def _vocabulary() -> tuple[frozenset[str], frozenset[str]]:
    """First and second words of names of two words."""
    first, second = WORDS["an"]["lists"]
    return _all_words(first), _all_words(second)


def _all_words(part: str) -> frozenset[str]:
    entry = WORDS[part]
    if entry["type"] == "words":
        return frozenset(entry["words"])
    return frozenset().union(*map(_all_words, entry["lists"]))
