"""The trail holds every character of a reason, and tells what was changed or taken out, at its end too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.mlops.audit import FAIL, PROMOTE, AuditTrail, Change, Decision, readable


def add(trail: AuditTrail, version: str, why: str = "because", what: str = PROMOTE) -> None:
    trail.append(what, Change("m", version, None), Decision("somebody", why, {}))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reasons=st.lists(st.text(st.characters(exclude_categories=()), max_size=20), min_size=1, max_size=4))
def test_no_character_of_a_reason_breaks_the_trail(tmp_path: Path, reasons: list[str]) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    trail.path.unlink(missing_ok=True)
    trail.path.with_suffix(".end").unlink(missing_ok=True)
    for number, why in enumerate(reasons):
        add(trail, str(number), readable(why))
    assert [entry.why for entry in trail.entries("m")] == [readable(why) for why in reasons]
    assert trail.check() == []
    assert trail.ending() == ""


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x1e", "\r"])
def test_lines_of_earlier_versions_with_such_a_character_are_read(tmp_path: Path, character: str) -> None:
    """They were written as they are, not escaped."""
    trail = AuditTrail(tmp_path / "audit.jsonl")
    entry = {"what": PROMOTE, "model": "m", "version": "1", "previous": "0", "why": f"a{character}b", "after": ""}
    trail.path.write_text(json.dumps(entry, ensure_ascii=False) + "\n", newline="")
    add(trail, "2")
    assert [found.version for found in trail.entries("m")] == ["1", "2"]
    assert trail.check() == []
    assert trail.before("m", "1") == "0"


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert readable("a\udce9b") == "a?b"


def test_a_last_line_that_was_changed_or_taken_out_is_noticed(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    for version in "123":
        add(trail, version)
    whole = trail.path.read_text()
    lines = whole.splitlines(keepends=True)
    trail.path.write_text("".join(lines[:2]) + lines[2].replace("because", "for fun"))
    assert trail.check() == []
    assert "last line was changed" in trail.ending() or "missing" in trail.ending()
    trail.path.write_text(lines[0])
    assert trail.ending() == "its last line was changed, or lines are missing at the end"
    trail.path.write_text("")
    assert trail.ending()
    trail.path.write_text(whole)
    assert trail.ending() == ""


def test_a_kill_between_a_line_and_its_note_is_no_change(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    add(trail, "1")
    note = trail.path.with_suffix(".end").read_text()
    add(trail, "2")
    trail.path.with_suffix(".end").write_text(note)
    assert trail.ending() == ""
    trail.path.with_suffix(".end").unlink()
    assert trail.ending() == "", "trails of earlier versions have no note"


def test_the_last_move_is_not_one_that_failed(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    assert trail.last_move("m") is None
    add(trail, "1")
    assert trail.last_move("m").version == "1"  # type: ignore[union-attr]
    add(trail, "1", what=FAIL)
    assert trail.last_move("m") is None


def test_the_trail_is_its_owners(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    add(trail, "1")
    assert trail.path.stat().st_mode & 0o777 == 0o600
