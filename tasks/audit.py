"""Who moved which model where, when, why and on which evidence: one JSON line each, appended and never rewritten.

Every line holds the digest of the line before it, so that a line that was changed or taken out is noticed.
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
from typing import Any

from filelock import FileLock

from freqd.errors import InputError
from freqd.store import text_digest

PROMOTE, ROLLBACK, REFUSE, FAIL = "promote", "rollback", "refuse", "fail"
"""What happens: a version becomes champion, an earlier one does again, the gate says no, a move did not succeed."""


@dataclass(frozen=True)
class AuditTrail:
    """The trail of one working directory; ``path`` is its file."""

    path: Path

    @classmethod
    def of(cls, workdir: Path) -> AuditTrail:
        """The trail of the working directory ``workdir``."""
        return cls(workdir / "audit.jsonl")

    def append(
        self,
        what: str,
        *,
        who: str,
        model: str,
        version: str,
        previous: str | None,
        why: str,
        evidence: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Write one entry; it is on the disk when this returns.

        Args:
            what: one of PROMOTE, ROLLBACK, REFUSE, FAIL.
            who: a person or a program.
            model: name of the registered model.
            version: the version that it is about.
            previous: the champion before, None if there was none.
            why: the reason in words.
            evidence: what the decision rests on, JSON-able.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            before = self.path.read_bytes() if self.path.exists() else b""
            lines = before.decode(errors="replace").splitlines()
            entry = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "who": who,
                "what": what,
                "model": model,
                "version": version,
                "previous": previous,
                "why": why,
                "evidence": dict(evidence),
                "after": text_digest(lines[-1]) if lines else "",
            }
            line = json.dumps(entry, ensure_ascii=False, default=str) + "\n"
            torn = bool(before) and not before.endswith(b"\n")  # a machine that lost power in mid-line
            with self.path.open("ab") as file:
                file.write((("\n" if torn else "") + line).encode())
                file.flush()
                os.fsync(file.fileno())
            if not before:
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        return entry

    def entries(self, model: str | None = None) -> list[dict[str, Any]]:
        """All entries, oldest first; only those of one model if it is named. A torn line is passed over."""
        parsed = [entry for _, entry in self._lines() if entry is not None]
        return [entry for entry in parsed if model is None or entry["model"] == model]

    def check(self) -> list[int]:
        """Numbers, from 1, of the lines that are torn or do not follow from the line before them."""
        wrong, before = [], ""
        for number, (line, entry) in enumerate(self._lines(), 1):
            if entry is None or entry.get("after") != (text_digest(before) if before else ""):
                wrong.append(number)
            before = line
        return wrong

    def before(self, model: str, champion: str) -> str:
        """The champion that ``champion`` took over from when it was promoted last.

        Raises:
            InputError: the trail does not say.
        """
        for entry in reversed(self.entries(model)):
            if entry["what"] == PROMOTE and entry["version"] == champion:
                if entry["previous"] is not None:
                    return str(entry["previous"])
                raise InputError(
                    f"version {champion} of {model} is its first champion, there is nothing to roll back to",
                    "promote another version with `freqd promote VERSION --why ...`",
                )
        raise InputError(
            f"the audit trail does not say how version {champion} of {model} became champion",
            "name the version you want: `freqd promote VERSION --why ...`",
        )

    def _lines(self) -> list[tuple[str, dict[str, Any] | None]]:
        if not self.path.exists():
            return []
        found: list[tuple[str, dict[str, Any] | None]] = []
        for line in self.path.read_bytes().decode(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            found.append((line, entry if isinstance(entry, dict) and "what" in entry else None))
        return found


def person() -> str:
    """The user at this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
