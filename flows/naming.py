"""Names of runs that nobody named: what they are about and the time."""

from __future__ import annotations

import re
from datetime import datetime

from freqd.config import DataConfig
from freqd.data.sources import name_of

LONGEST = 120
"""Bytes of a name; it is a folder's name too."""
WITHOUT_TIME = 80
"""Bytes of a name to which a date or a time is added."""


def new_name(*data: DataConfig) -> str:
    """Data sets and local time, as a folder's name."""
    return f"{as_folder('-'.join(map(name_of, data)), WITHOUT_TIME)}-{datetime.now():%Y%m%d-%H%M%S}"


def as_folder(name: str, longest: int = LONGEST) -> str:
    """The name, with a hyphen for what a folder's name cannot have: separators, control characters, a dot in front.

    What is beyond ``longest`` bytes is cut off.
    """
    safe = re.sub(r"[/\\\x00-\x1f\x7f]", "-", name.strip()).encode()[:longest].decode(errors="ignore")
    return re.sub(r"^\.", "-", safe).strip() or "run"
