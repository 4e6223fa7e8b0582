"""The result of a run: what is written is what is read, and what is no result is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from freqd.errors import InputError
from freqd.report.run_result import RunResult, schema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schema" / "run-summary-1.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "summary.json"


def test_the_page_is_the_models_schema(full: dict[str, Any]) -> None:
    command = "python -c 'from freqd.report.run_result import schema; print(schema(), end=\"\")'"
    assert PAGE.read_text() == schema(), f"write it again: {command} > docs/schema/{PAGE.name}"
    jsonschema.validate(full, json.loads(schema()))
    with pytest.raises(jsonschema.ValidationError, match="schema_version"):
        jsonschema.validate({**full, "schema_version": 2}, json.loads(schema()))


def test_what_was_written_is_read(full: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(RunResult.model_validate(full).as_json()))
    found = RunResult.load(file)
    assert found.as_json() == full
    assert found.spectrum.filters.feature.item.alpha == 0.3
    assert found.models.of("svd") == found.models.svd
    assert [name for name, _ in found.models.items()] == ["teacher", "scratch", "svd", "student"]


def test_a_file_of_before_there_was_a_version_is_read(full: dict[str, Any], file: Path) -> None:
    later = ("schema_version", "folder", "evaluated", "budget", "start")
    file.write_text(json.dumps({name: part for name, part in full.items() if name not in later}))
    found = RunResult.load(file)
    assert (found.folder, found.evaluated, found.start, found.budget.minutes) == (".", None, None, None)
    assert found.as_json()["schema_version"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "is damaged"),
        ('{"run": "mon', "is damaged"),
        ("[]", "the whole file"),
        ('{"weather": "fine"}', "not a summary as freqd writes it"),
        ('{"schema_version": 2}', "schema 2, and this freqd reads 1"),
        ('{"schema_version": "1"}', "schema '1'"),
    ],
)
def test_what_is_no_summary_is_named(file: Path, content: str | None, said: str) -> None:
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        RunResult.load(file)
    assert str(file) in caught.value.problem
    assert "run it again with `freqd run`" in caught.value.remedy


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("metrics", "student", "ndcg_at_10"), math.nan),
        (("models", "teacher", "bytes"), "many"),
        (("spectrum", "filters", "feature", "user", "form"), "cubic"),
        (("spectrum", "mood"), "good"),
        (("groups", "student"), None),
    ],
)
def test_a_wrong_part_is_named(full: dict[str, Any], file: Path, place: tuple[str, ...], value: Any) -> None:
    part = full
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    file.write_text(json.dumps(full))
    with pytest.raises(InputError, match=r"\.".join(place)):
        RunResult.load(file)
