"""The short form of a Prefect deployment: what it asks for becomes the settings of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.form import settings_of
from flows.ops.deployments import DEPLOYED, RETRAIN, TRAIN
from flows.ops.execute import FLOWS, flow_of
from freqd.config import RunConfig
from freqd.errors import InputError

FILE = """
[data]
source = ["purchases.csv"]
items = "items.csv"
[distill]
dim = 12
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(FILE)
    return path


def test_the_file_wins_over_the_preset_and_the_other_fields_over_the_file(file: Path) -> None:
    made = settings_of(str(file), (), "quick", 30.0, ("distill.epochs=7", "teacher.kind=ease"))
    assert (made.distill.dim, made.distill.epochs, made.teacher.kind, made.budget_minutes) == (12, 7, "ease", 30.0)
    preset = settings_of(None, ("movielens-100k",), "quick", None, ())
    assert preset.distill.dim != RunConfig().distill.dim
    assert preset.data.source == ("movielens-100k",)
    assert settings_of(str(file), (), "none", None, ()).budget_minutes is None


def test_paths_of_the_file_are_those_of_its_folder(file: Path) -> None:
    made = settings_of(str(file), (), "none", None, ())
    assert made.data.source == (str(file.parent / "purchases.csv"),)
    assert made.data.items == str(file.parent / "items.csv")
    other = settings_of(str(file), ("/data/other.csv",), "none", None, ())
    assert other.data.source == ("/data/other.csv",)


def test_a_form_that_names_no_data_never_runs_the_built_in_ones(tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.write_text("[distill]\ndim = 4\n")
    for given in (None, str(empty)):
        with pytest.raises(InputError, match="names no data"):
            settings_of(given, (), "quick", None, ())


@pytest.mark.parametrize(
    ("content", "overrides", "said"),
    [
        ('plugins = ["own.py"]\n[data]\nsource = ["a.csv"]', (), "plugin"),
        ("[data]\nsource = [", (), "not a TOML file"),
        (FILE, ("distill.dims=4",), "distill.dims"),
        (FILE, ("distill.dim",), "section.key=value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, overrides: tuple[str, ...], said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        settings_of(str(path), (), "none", None, overrides)


def test_the_short_form_is_short_and_the_long_one_has_no_section_without_effect() -> None:
    short = TRAIN.schema()
    assert set(short["properties"]) == {
        "settings",
        "data",
        "preset",
        "budget_minutes",
        "overrides",
        "run_name",
        "workdir",
    }
    assert all(field.get("description") for field in short["properties"].values())
    sections = RETRAIN.schema()["definitions"]["RunConfig"]["properties"]
    assert set(RunConfig.model_fields) - set(sections) == {"cadence", "drift"}


def test_the_worker_knows_every_deployment_by_its_flow() -> None:
    assert {what.full_name for what in DEPLOYED} == set(FLOWS)
    assert {name: flow_of(name).name for name in FLOWS} == {what.full_name: what.flow.name for what in DEPLOYED}
