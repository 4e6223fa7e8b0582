"""Settings: presets, files and --set, and errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from freqd.config import BaselinesConfig, RunConfig, describe
from freqd.config.load import as_markdown, build, merge, parse_assignment, preset, preset_names, read_toml
from freqd.errors import InputError


def test_defaults_are_valid_and_every_setting_is_explained() -> None:
    assert build([]) == RunConfig()
    assert [name for name, _, _, text in describe(RunConfig) if not text] == []


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name: str) -> None:
    assert isinstance(build([preset(name)]), RunConfig)


def test_later_layers_win_and_tables_merge() -> None:
    found = build([{"distill": {"dim": 8, "epochs": 3}}, {"distill": {"dim": 9}}, {"seed": 4}])
    assert (found.distill.dim, found.distill.epochs, found.seed) == (9, 3, 4)
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distill.dim=8", {"distill": {"dim": 8}}),
        ("teacher.factors=[8, 16]", {"teacher": {"factors": [8, 16]}}),
        ("teacher.kind=bpr", {"teacher": {"kind": "bpr"}}),
        ('data.sql="select a=b"', {"data": {"sql": "select a=b"}}),
        ("data.as_of=2017-06-01", {"data": {"as_of": __import__("datetime").date(2017, 6, 1)}}),
        ("registry.enabled=false", {"registry": {"enabled": False}}),
    ],
)
def test_assignments(text: str, expected: dict[str, object]) -> None:
    assert parse_assignment(text) == expected


def test_one_value_counts_as_a_list_of_one() -> None:
    found = build([parse_assignment("teacher.factors=64"), parse_assignment("data.source=gowalla")])
    assert found.teacher.factors == (64,)
    assert found.data.source == ("gowalla",)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({"distil": {"dim": 8}}, "'distil'.*did you mean 'distill"),
        ({"distill": {"dims": 8}}, "'distill.dims'.*did you mean 'distill.dim'"),
        ({"distill": {"dim": 0}}, "distill.dim.*greater than or equal to 1.*got 0"),
        ({"distill": {"dim": "many"}}, "distill.dim.*got 'many'"),
        ({"data": {"valid_fraction": 0.6, "test_fraction": 0.5}}, "leave nothing to train on"),
        ({"data": {"train": "a.csv"}}, "train and test go together"),
        ({"teacher": {"kind": "features"}}, "go together"),
        ({"plugins": ["mine.py"]}, "there is no setting 'plugins'"),
        ({"device": "gpu"}, "device"),
        ({"distill": {"epochs": 0}}, "setting distill.epochs: Input should be 'auto' or .* 1 \\(got 0\\)"),
        ({"distill": {"objectives": [{"name": "rce", "weight": -1}]}}, "distill.objectives.0.weight"),
    ],
)
def test_wrong_settings_are_named(layer: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        build([layer])
    assert "docs/settings.md" in caught.value.remedy


@pytest.mark.parametrize("text", ["distill.dim", "=3", " = 3"])
def test_an_assignment_needs_key_and_value(text: str) -> None:
    with pytest.raises(InputError, match=r"section\.key=value"):
        parse_assignment(text)


def test_a_file_that_an_editor_began_with_a_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_text("[distill]\ndim = 8\n", encoding="utf-8-sig")
    assert build([read_toml(tmp_path / "marked.toml")]).distill.dim == 8


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        read_toml(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match=r"bad\.toml is not a TOML file"):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(InputError, match="no preset 'fast'"):
        preset("fast")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]


def test_the_page_of_settings_is_what_the_models_say() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
    assert page.read_text() == as_markdown(describe(RunConfig)), (
        "write it again: freqd settings --markdown > docs/settings.md"
    )


def test_settings_of_before_are_read_where_they_stand_now() -> None:
    old = {
        "baseline_models": ["bpr"],
        "scratch_learning_rate": [0.01],
        "scratch_weight_decay": [0.1],
        "scratch_epochs": 7,
    }
    found = RunConfig.model_validate({"distill": {**old, "dim": 8}})
    assert found == build([parse_assignment(word) for word in (
        "baselines.models=bpr", "baselines.learning_rate=0.01", "baselines.weight_decay=0.1", "baselines.epochs=7", "distill.dim=8",
    )])  # fmt: skip
    assert RunConfig.model_validate({"distill": {"baselines": False}}).baselines.models == ()
    assert RunConfig.model_validate({"distill": {"baselines": True}}) == RunConfig()
    mixed = RunConfig.model_validate({"distill": {"dim": 8}, "baselines": BaselinesConfig(models=("als",))})
    assert (mixed.distill.dim, mixed.baselines.models) == (8, ("als",))
