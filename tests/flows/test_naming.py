"""Who names a run: a person, before everything else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.utilities.names import generate_slug

from flows import pipeline
from flows.naming import as_folder, is_generated, typed_name


def test_every_name_that_prefect_makes_counts_as_none() -> None:
    assert [name for name in (generate_slug(2) for _ in range(300)) if not is_generated(name)] == []


@pytest.mark.parametrize("name", ["weekly", "weekly-run", "shop-2026", "Easter sale", "octopus-sincere", "", "a-b"])
def test_what_a_person_types_is_no_such_name(name: str) -> None:
    assert not is_generated(name)


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


@pytest.mark.parametrize(
    ("run_name", "typed", "name"),
    [("mine", "typed", "mine"), (None, "typed/here", "typed-here"), (None, "", "grocery-")],
)
def test_the_main_job_is_named_by_whoever_named_it(
    run_name: str | None, typed: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SimpleNamespace(flow_run=SimpleNamespace(parameters={"run_name": run_name}))
    monkeypatch.setattr(pipeline, "runtime", given)
    monkeypatch.setattr(pipeline, "typed_name", lambda: typed)
    found = pipeline._shown_name()
    assert found.startswith(name)
    assert len(found) == len(name) + (len("20260102-030405") if name.endswith("-") else 0)


@flow(flow_run_name=lambda: as_folder(typed_name() or "named after its data"))
def _named() -> str:
    return str(runtime.flow_run.name)


@pytest.mark.parametrize(
    ("typed", "kept"), [("before Easter", "before Easter"), (None, "named after its data"), ("a/b", "a-b")]
)
def test_the_name_typed_on_the_page_is_kept(prefect_server: None, typed: str | None, kept: str) -> None:
    from prefect.flow_engine import run_flow

    with get_client(sync_client=True) as client:
        run: Any = client.create_flow_run(_named, name=typed)
        assert run_flow(_named, flow_run=run) == kept
        assert client.read_flow_run(run.id).name == kept
