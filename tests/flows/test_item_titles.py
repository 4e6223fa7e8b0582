"""Titles and sample users stay on the owner's machine: in the run's own report, in nothing that MLflow or Prefect has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
from prefect.client.orchestration import get_client

from flows.cli.run import report as show_report
from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.errors import InputError
from freqd.pseudonym import pseudonym
from tasks.runtime.preflight import preflight
from tasks.runtime.workspace import Workspace
from tests.flows.test_pipeline import config

pytestmark = pytest.mark.usefixtures("prefect_server")
TITLE = "Wondrous thing"


@pytest.fixture(scope="module")
def items(source: Path) -> Path:
    """A table with a title for every item but one, and one for an item that nobody met."""
    known = pl.read_csv(source)["item"].unique().sort()[1:]
    frame = pl.DataFrame({"item": [*known, "unknown"]}).with_columns(title=pl.lit(f"{TITLE} ") + pl.col("item"))
    frame.write_csv(source.parent / "items.csv")
    return source.parent / "items.csv"


def settings(source: Path, items: Path, *changes: str) -> RunConfig:
    return config(source, f"data.items={items}", *changes)


@pytest.fixture(scope="module")
def run(source: Path, items: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return pipeline(settings(source, items), workdir=str(workdir), run_name="titled")


def pseudonyms(source: Path, workdir: Path) -> list[str]:
    salt = Workspace(workdir).salt
    return [pseudonym(salt, own) for own in pl.read_csv(source)["user"].unique()]


def test_the_local_report_shows_five_users_with_titles(run: dict[str, Any], source: Path, workdir: Path) -> None:
    page = re.sub(r"base64,[\w+/=]*", "", (workdir / "runs" / "titled" / "report.html").read_text())
    assert TITLE in page
    shown = [name for name in pseudonyms(source, workdir) if name in page]
    assert len(shown) == 5
    assert not [own for own in pl.read_csv(source)["user"].unique() if own in page]
    (workdir / "runs" / "titled" / "report.html").unlink()
    show_report("titled", workdir=workdir)
    assert TITLE in (workdir / "runs" / "titled" / "report.html").read_text(), "it is written again with them"


def test_mlflow_and_prefect_have_neither_titles_nor_users(run: dict[str, Any], source: Path, workdir: Path) -> None:
    secrets = [TITLE, *pseudonyms(source, workdir)]
    parent = run["mlflow"]["run_id"]
    client = mlflow.MlflowClient()
    children = client.search_runs([run["mlflow"]["experiment_id"]], f"tags.mlflow.parentRunId = '{parent}'")
    assert "items" in {child.info.run_name for child in children}
    texts = {}
    for run_id in (parent, *(child.info.run_id for child in children)):
        folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id)) if client.list_artifacts(run_id) else None
        texts |= {f"{run_id}/{p.name}": p.read_bytes() for p in (folder.rglob("*") if folder else ()) if p.is_file()}
        texts[run_id] = str(client.get_run(run_id).to_dictionary()).encode()
    assert any(name.endswith("report.html") for name in texts)
    with get_client(sync_client=True) as prefect:
        texts["artifacts"] = "".join(a.model_dump_json() for a in prefect.read_artifacts()).encode()
        texts["flow run"] = prefect.read_flow_run(run["prefect"]["flow_run_id"]).model_dump_json().encode()
    texts["result"] = str(run).encode()
    assert [(name, secret) for name, text in texts.items() for secret in secrets if secret.encode() in text] == []


def test_only_the_stage_that_uses_the_titles_depends_on_them(
    run: dict[str, Any], source: Path, items: Path, workdir: Path
) -> None:
    assert "items" in [stage["name"] for stage in run["stages"]]
    without = pipeline(config(source, "report.samples=0"), workdir=str(workdir), run_name="untitled")
    assert len(without["cached_stages"]) == len(without["stages"])
    folder = workdir / "runs" / "untitled"
    assert not (folder / "samples.json").exists()
    page = (folder / "report.html").read_text()
    assert not [name for name in (TITLE, *pseudonyms(source, workdir)) if name in page]
    items.write_text(items.read_text().replace("thing i0003", "thing renamed"))
    again = pipeline(settings(source, items), workdir=str(workdir), run_name="renamed")
    assert {stage["name"] for stage in again["stages"]} - set(again["cached_stages"]) == {"items"}


def test_a_broken_item_table_is_refused_before_anything_starts(source: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("sku,price\n1,2\n")
    with pytest.raises(InputError, match="no column looks like the title"):
        preflight(settings(source, tmp_path / "items.csv"), Workspace(tmp_path / "work"))
