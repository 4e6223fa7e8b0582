"""The terminal's table and the markdown: the summary's numbers, harmless text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from freqd import numbers as fmt
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment, read_toml
from freqd.report.markdown import escape
from freqd.report.run import tables
from freqd.report.run.settings import as_toml, changed_settings, reproduce_command, show
from freqd.report.run.text import markdown, result_table
from freqd.report.run_result import RunResult

ROLES = {"Teacher": "teacher", "No-distillation baseline": "scratch", "SVD of teacher": "svd", "Student": "student"}


def test_table_holds_the_summarys_numbers(full: dict[str, Any]) -> None:
    lines = result_table(RunResult.model_validate(full)).splitlines()
    for label, role in ROLES.items():
        line = next(line for line in lines if line.startswith(f"{label} "))
        cells = re.split(r"\s{2,}", line)
        model, metrics = full["models"][role], full["metrics"][role]
        assert cells == [
            label,
            str(model["dim"]),
            f"{model['parameters']:,}",
            fmt.size(model["bytes"]).replace(fmt.NBSP, " "),
            f"{metrics['ndcg_at_10']:.4f}",
            f"{metrics['recall_at_10']:.4f}",
            f"{100 * metrics['coverage_at_10']:.1f} %",
            f"{model['median_ms']:.2f} ({model['low_ms']:.2f}–{model['high_ms']:.2f})",
        ]


def test_table_is_plain_and_says_gap_and_verdict(full: dict[str, Any]) -> None:
    table = result_table(RunResult.model_validate(full))
    assert table.startswith("grocery: 2,458 users, 10,912 items, 612,407 interactions\n")
    flat = " ".join(table.split())
    assert "gap closed The student keeps 83 % of the teacher's gain over the no-distillation baseline" in flat
    assert "verdict The student closes 83 % of the gap" in flat
    assert max(map(len, table.splitlines())) <= 110
    assert "\x1b" not in table
    assert fmt.NBSP not in table


def test_control_characters_do_not_reach_the_terminal(full: dict[str, Any]) -> None:
    full["data"]["name"] = "a\x1b[31mred\x07\u202e"
    full["advice"] = ["clear\x1b[2J"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", result_table(RunResult.model_validate(full)))


def test_text_of_incomplete_summaries(degenerate: RunResult) -> None:
    for whole in (result_table(degenerate), markdown(degenerate)):
        assert whole.strip()
        assert "None" not in whole
        assert not re.search(r"\bnan\b", whole, re.I)


def test_markdown_is_complete(full: dict[str, Any]) -> None:
    said = markdown(RunResult.model_validate(full)).replace(fmt.NBSP, " ")
    assert said.startswith("# The student closes 83 % of the gap to its teacher\n")
    assert "| **Student** | **16** | **213,920** | **856 kB** | **0.0501** |" in said
    for heading in ("## Filter", "## Gate", "## What to do next"):
        assert heading in said
    table = [line for line in said.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {9}


def test_markdown_shows_hostile_text_as_text(hostile: dict[str, Any]) -> None:
    said = markdown(RunResult.model_validate(hostile))
    assert not re.search(r"(?<!\\)<", said)
    assert escape("[a](http://b)|`\n# c") == "\\[a\\](http://b)\\|` \\# c"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "distill": {
                "dim": 16,
                "objectives": [{"name": "freqd", "weight": 0.5, "options": {"loss": "cosine", "detach": True}}],
            }
        },
        {"teacher": {"kind": "features", "features": "my teacher's.npz"}, "seed": 7},
        {
            "teacher": {"factors": [32], "regularization": [0.1, 1e-05]},
            "data": {"as_of": "2026-01-31", "columns": {"user": "true"}},
        },
        {
            "data": {"columns": {"item": "a \"b\" = 'c'", "time": "2024"}, "split": "random"},
            "threads": 1,
            "baselines": {"models": []},
        },
    ],
)
def test_the_command_gives_the_same_settings(given: dict[str, Any]) -> None:
    config = RunConfig.model_validate(given)
    words = shlex.split(reproduce_command(config.model_dump(mode="json")))
    assert words[:2] == ["freqd", "run"]
    values = [value for option, value in zip(words[2::2], words[3::2], strict=True) if option == "--set"]
    assert build([parse_assignment(value) for value in values]) == config


def test_the_command_names_the_data(full: dict[str, Any]) -> None:
    full["config"]["data"]["source"] = ["my file.csv", "b.csv"]
    assert reproduce_command(full["config"]).startswith(
        "freqd run --data 'my file.csv' b.csv --set data.min_user_interactions=10"
    )
    parts = RunConfig.model_validate({"data": {"train": "a b.csv", "test": "t.csv"}}).model_dump(mode="json")
    assert reproduce_command(parts) == "freqd run --train 'a b.csv' --test t.csv"


def test_only_what_differs_is_listed(full: dict[str, Any]) -> None:
    changed = {s.name: (s.value, s.default) for s in changed_settings(full["config"])}
    assert changed == {
        "data.min_user_interactions": ("10", "not set"),
        "teacher.factors": ("[32, 64, 128]", show(RunConfig().teacher.factors)),
        "teacher.search_seconds": ("60.0", show(RunConfig().teacher.search_seconds)),
        "distill.dim": ("16", show(RunConfig().distill.dim)),
        "distill.epochs": ("60", show(RunConfig().distill.epochs)),
        "seed": ("7", "0"),
    }
    assert changed_settings(RunConfig().model_dump(mode="json")) == []
    assert changed_settings(RunConfig().model_dump()) == []
    assert changed_settings({"unknown": 1, "data": None}) == []


def test_a_settings_file_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    given = [
        'data.source=["a \\"b\\".csv"]', "data.as_of=2024-02-03", "data.columns.user=who", "seed=3", "distill.weight_decay=6.031e-06",
        'distill.objectives=[{name="rce", weight=0.5, options={top=7, filtered=false}}]', "teacher.factors=[8, 16]",
    ]  # fmt: skip
    config = build([parse_assignment(text) for text in given])
    file = tmp_path / "settings.toml"
    file.write_text(as_toml(config.model_dump(mode="json"), always=["distill.dim"]))
    assert build([read_toml(file)]) == config
    assert "dim = 20" in file.read_text()
    assert "epochs" not in file.read_text()


def test_tables_have_as_many_cells_as_headings(full: dict[str, Any]) -> None:
    result = RunResult.model_validate(full)
    kinds = (
        tables.models, tables.all_metrics, tables.intervals, tables.settings, tables.data_facts, tables.dropped, tables.teacher_trials,
        tables.filter_trials, tables.by_activity, tables.by_popularity, tables.stages, tables.lineage,
    )  # fmt: skip
    for kind in kinds:
        table = kind(result)
        assert table.rows, table.caption
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_metrics_are_ordered_and_named(full: dict[str, Any]) -> None:
    names = [row[0] for row in tables.all_metrics(RunResult.model_validate(full)).rows]
    assert names[:4] == ["NDCG@10", "NDCG@20", "Recall@10", "Recall@20"]
    assert tables.metric_label("gini_at_10") == "Gini of exposure@10 (lower is more even)"
    assert tables.metric_label("something_new_at_5") == "something new@5"


def test_the_best_trial_is_marked_and_stages_are_summed(full: dict[str, Any]) -> None:
    result = RunResult.model_validate(full)
    trials = tables.teacher_trials(result)
    assert trials.strong == 2
    own = [{"kind": "als", "factors": 8, "regularization": 1.0, "alpha": 1.0, "valid_ndcg_at_10": 0.06, "seconds": 2.0},
           {"kind": "bpr", "weight_decay": 0.03, "learning_rate": 0.005, "valid_ndcg_at_10": 0.05, "seconds": 7.0}]  # fmt: skip
    full["training"]["scratch"]["info"] = {"kind": "als", "trials": own}
    baselines = tables.baseline_trials(RunResult.model_validate(full))
    assert baselines.strong == 0
    assert [row[0] for row in baselines.rows] == ["als", "bpr"]
    assert baselines.rows[1][2:5] == ["0.03", "–", "0.005"]
    total = tables.stages(result).rows[-1]
    assert total[1].replace(fmt.NBSP, " ") == "2 min 03 s"
    assert total[2].replace(fmt.NBSP, " ") == "1.31 GB"
