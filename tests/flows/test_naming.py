"""Names of runs: the parameter, else the data and the time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import pipeline
from flows.naming import as_folder


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Easter sale", "Easter sale"),
        ("../../etc", "-.-..-etc"),
        ("a/b\\c", "a-b-c"),
        (" \n ", "run"),
        (".hidden", "-hidden"),
        ("x" * 300, "x" * 120),
        ("x" + "äöü" * 100, "x" + "äöü" * 19 + "äö"),
    ],
)
def test_a_name_is_made_fit_for_a_folder(name: str, folder: str, tmp_path: Path) -> None:
    assert as_folder(name) == folder
    (tmp_path / as_folder(name)).mkdir()
    assert [p.parent for p in tmp_path.glob("*")] == [tmp_path]


@pytest.mark.parametrize(("run_name", "name"), [("mine", "mine"), ("a/b", "a-b"), (None, "grocery-"), ("", "grocery-")])
def test_the_main_job_is_named_by_its_parameter_or_after_its_data(
    run_name: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SimpleNamespace(flow_run=SimpleNamespace(parameters={"run_name": run_name}, name="typed on the page"))
    monkeypatch.setattr(pipeline, "runtime", given)
    found = pipeline._shown_name()
    assert found.startswith(name)
    assert len(found) == len(name) + (len("20260102-030405") if name.endswith("-") else 0)
