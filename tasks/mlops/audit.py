"""Who moved which model where, when, why and on which evidence: one JSON line each, appended and never rewritten.

Every line holds the digest of the line before it, and a file beside the trail the digest of the last one, so that a line that
was changed or removed is noticed, at the end too. Anyone who can write both files can forge both: a copy elsewhere shows it.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from freqd.errors import InputError
from freqd.json_types import JsonObject
from freqd.storage.files import text_digest, write_atomic

PROMOTE, ROLLBACK, REFUSE, FAIL = "promote", "rollback", "refuse", "fail"
"""What happens: a version becomes champion, an earlier one does again, the gate says no, a move did not succeed."""


ANY = "any"


@dataclass(frozen=True)
class Decision:
    """Who or what decided, and on which grounds.

    Attributes:
        who: a person or a program.
        why: the reason in words.
        evidence: what the decision rests on, JSON-able.
        against: version of the champion that it was made against, None if there was none; ``ANY`` for a decision that does
            not depend on it.
    """

    who: str
    why: str
    evidence: Mapping[str, object]
    against: str | None = ANY


@dataclass(frozen=True)
class Change:
    """What a decision is about: a version of a registered model, and the champion before, None if there was none."""

    model: str
    version: str
    previous: str | None


class AuditEntry(BaseModel):
    """A line of the trail; ``after`` is the digest of the line before it. Only ``what`` happened with what is never missing."""

    model_config = ConfigDict(frozen=True, extra="allow")

    time: str = ""
    who: str = ""
    what: str
    model: str
    version: str
    previous: str | None
    why: str = ""
    evidence: JsonObject = {}
    after: str | None = None

    def as_json(self) -> JsonObject:
        """As the line has it."""
        return self.model_dump(exclude_unset=True)

    @property
    def change(self) -> Change:
        """What it is about."""
        return Change(self.model, self.version, self.previous)


@dataclass(frozen=True)
class AuditTrail:
    """The trail of one working directory; ``path`` is its file."""

    path: Path

    @classmethod
    def of(cls, workdir: Path) -> AuditTrail:
        """The trail of the working directory ``workdir``."""
        return cls(workdir / "audit.jsonl")

    def append(self, what: str, change: Change, decision: Decision) -> None:
        """Write one entry; it is on the disk when this returns.

        Args:
            what: one of PROMOTE, ROLLBACK, REFUSE, FAIL.
            change: what it is about.
            decision: who decided, and why.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            before = self.path.read_bytes() if self.path.exists() else b""
            lines = _split(before)
            entry = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "who": decision.who,
                "what": what,
                **vars(change),
                "why": decision.why,
                "evidence": dict(decision.evidence),
                "after": text_digest(lines[-1]) if lines else "",
            }
            line = json.dumps(entry, default=str)  # in ASCII: no character of a reason can end the line
            torn = bool(before) and not before.endswith(b"\n")  # a machine that lost power in mid-line
            with open(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
                file.write(f"{chr(10) if torn else ''}{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            write_atomic(self._end, text_digest(line))
            if not before:
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def entries(self, model: str | None = None) -> list[AuditEntry]:
        """All entries, oldest first; only those of one model if it is named. A torn line is passed over."""
        parsed = [entry for _, entry in self._lines() if entry is not None]
        return [entry for entry in parsed if model is None or entry.model == model]

    def check(self) -> list[int]:
        """Numbers, from 1, of the lines that are torn or do not follow from the line before them."""
        wrong, before = [], ""
        for number, (line, entry) in enumerate(self._lines(), 1):
            if entry is None or entry.after != (text_digest(before) if before else ""):
                wrong.append(number)
            before = line
        return wrong

    def ending(self) -> str:
        """What is wrong with the last line, in words; empty if nothing is.

        A process that was killed between a line and the note of its digest leaves the note of the line before it.
        """
        lines = [line for line, _ in self._lines()]
        try:
            noted = self._end.read_text().strip()
        except OSError:  # trails of earlier versions have none
            return ""
        known = [text_digest(line) for line in lines]
        if known and (noted == known[-1] or (len(known) > 1 and noted == known[-2])):
            return ""
        return (
            "its last line was changed, or lines are missing at the end"
            if noted not in known and lines
            else "the last line was changed or lines were added"
        )

    @property
    def _end(self) -> Path:
        return self.path.with_suffix(".end")

    def last_move(self, model: str) -> AuditEntry | None:
        """The latest promotion or roll-back of a model that is not noted as failed."""
        for entry in reversed(self.entries(model)):
            if entry.what == FAIL:
                return None
            if entry.what in (PROMOTE, ROLLBACK):
                return entry
        return None

    def before(self, model: str, champion: str) -> str:
        """The champion that ``champion`` took over from when it was promoted last; promotions that failed do not count.

        Raises:
            InputError: the trail does not say.
        """
        failed = set()
        for entry in reversed(self.entries(model)):
            if entry.what == FAIL:
                failed.add(entry.change)
            elif entry.what in (PROMOTE, ROLLBACK) and entry.change in failed:
                failed.remove(entry.change)
            elif entry.what == PROMOTE and entry.version == champion:
                if entry.previous is not None:
                    return entry.previous
                raise InputError(
                    f"version {champion} of {model} is its first champion, there is nothing to roll back to",
                    "promote another version with `freqd promote VERSION --why ...`",
                )
        raise InputError(
            f"the audit trail does not say how version {champion} of {model} became champion",
            "name the version you want: `freqd promote VERSION --why ...`",
        )

    def _lines(self) -> list[tuple[str, AuditEntry | None]]:
        if not self.path.exists():
            return []
        return [(line, _parsed(line)) for line in _split(self.path.read_bytes())]


def _parsed(line: str) -> AuditEntry | None:
    try:
        return AuditEntry.model_validate(json.loads(line))
    except ValueError:  # no JSON, or no entry
        return None


def _split(content: bytes) -> list[str]:
    """Lines end with a line feed and with nothing else: reasons may hold other separators."""
    text = content.decode(errors="replace")
    return text.removesuffix("\n").split("\n") if text else []


def readable(text: str) -> str:
    """A text that every store can keep: half a surrogate pair, as a terminal makes of bytes that are no UTF-8, becomes ?."""
    return text.encode(errors="replace").decode()


def person() -> str:
    """The user at this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
