"""What the gate's table shows, and on whom challenger and champion are compared."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from freqd.config import EvaluateConfig, RegistryConfig
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import Evaluation, evaluate
from freqd.gate import Candidate, Check, Verdict
from freqd.serve.recommender import Recommender
from tasks.mlops import registry
from tasks.run_context import RunContext
from tasks.runtime.workspace import Workspace
from tasks.stages import gate
from tasks.stages.gate import Case, quality_of
from tasks.stages.register import NEEDED, PINNED, _by_group, _shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.005658999, "0.005659"), (883_219.0, "883,219"), (-0.0464412, "−0.04644")]
)
def test_a_check_is_shown_with_four_digits_and_its_limit_as_text(value: float, shown: str) -> None:
    row = _shown(Check(name="gap closed", value=value, limit=">= 0.9", passed=False, detail="a [b]"))
    assert row == {"name": "gap closed", "value": shown, "limit": "≥ 0.9", "passed": False, "detail": r"a \[b\]"}


def test_what_is_not_known_is_a_dash() -> None:
    assert _shown(Check(name="gap closed", value=None, limit="none", passed=True))["value"] == "–"


# -- the comparison with the champion --------------------------------------------------------------------------------


@pytest.fixture
def split() -> Split:
    """Forty users with one test item each; the first half has one train item, the other two. The last two are new."""

    def part(pairs: list[tuple[int, int]]) -> Interactions:
        array = np.array(pairs, np.int32).reshape(-1, 2)
        return Interactions(array[:, 0].copy(), array[:, 1].copy(), 40, 30)

    train = [(user, 0) for user in range(40)] + [(user, 1) for user in range(20, 40)]
    test = [(user, 2 + user % 20) for user in range(40)]
    users, items = pl.Series([f"u{n}" for n in range(40)]), pl.Series([f"i{n}" for n in range(30)])
    return Split(part(train), part([]), part(test), users, items)


@pytest.fixture
def student(split: Split) -> Embeddings:
    """Ranks the items 2 3 4 ... for everybody."""
    return Embeddings(np.ones((40, 1), np.float32), np.linspace(1, 0, 30, dtype=np.float32)[:, None])


def decide(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, split: Split, student: Embeddings, champion: Recommender, **policy: Any
) -> tuple[Verdict, Evaluation]:  # fmt: skip
    evaluation = EvaluateConfig(bootstrap_samples=100)
    own = evaluate(student, split, evaluation)
    monkeypatch.setattr(registry, "load_champion", lambda *_: champion)
    monkeypatch.setattr(gate, "_fair", lambda store, present, parts: parts)
    context = RunContext(
        workdir=str(workspace.root), run_name="mine", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=1
    )  # fmt: skip
    challenger = Candidate(version="2", n_bytes=8, latency_ms=1.0, **quality_of(own))
    present: Any = SimpleNamespace(name="m", version="1", tags={})
    settings = RegistryConfig(**{"min_group_users": 1, **policy})
    case = Case("m", challenger, student, split, own, settings, evaluation)
    return case.decide(context, present), own


def test_both_are_judged_on_the_users_that_the_champion_knows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, split: Split, student: Embeddings
) -> None:
    known = Embeddings(student.users[:38], student.items)
    whole = Recommender.of(student, split)
    champion = Recommender(known, split.user_ids[:38], split.item_ids, whole.seen[:38])
    verdict, own = decide(workspace, monkeypatch, split, student, champion)
    found = {check.name: check for check in verdict.checks}
    # The same model: equal in everything, on 20 and 18 users. Judged on all, the new ones would get popular items.
    for name in ("item coverage@10", "mean item popularity@10", "NDCG@10 of the worst user group"):
        assert "0.0 % above the champion's" in found[name].detail, name
    assert verdict.difference is not None
    assert verdict.difference.mean == 0.0
    assert [row["users"] for row in own.groups["activity"]] == [20, 20]
    verdict, _ = decide(workspace, monkeypatch, split, student, champion, min_group_users=19)
    (check,) = [check for check in verdict.checks if check.name.startswith("NDCG@10 of the worst")]
    assert "1 train interactions (20 test users)" in check.detail
    assert check.detail.endswith(", without the groups of fewer than 19 test users: 2 train interactions (18)")


def test_popularity_and_groups_are_measured_on_both(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, split: Split, student: Embeddings
) -> None:
    # The champion ranks the other way round: items 29 to 20, of which 20 and 21 are the test items of two users a group.
    items = np.linspace(0, 1, 30, dtype=np.float32)[:, None]
    champion = Recommender.of(Embeddings(student.users, items), split)
    verdict, own = decide(workspace, monkeypatch, split, student, champion)
    found = {check.name: check for check in verdict.checks}
    # The less active users are shown item 1 too, which 20 have bought: 20 · 20 / 400 on average; the champion shows none.
    assert own.metrics["mean_popularity_at_10"] == pytest.approx(1.0)
    assert found["mean item popularity@10"].value == pytest.approx(1.0)
    assert not found["mean item popularity@10"].passed
    assert found["mean item popularity@10"].detail == "the champion's is 0"
    assert found["NDCG@10 of the worst user group"].passed
    assert [check.name for check in verdict.checks if not check.passed] == ["mean item popularity@10"]


def test_a_champion_of_other_users_is_no_comparison(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, split: Split, student: Embeddings
) -> None:
    whole = Recommender.of(student, split)
    champion = Recommender(student, pl.Series([f"x{n}" for n in range(40)]), split.item_ids, whole.seen)
    with pytest.raises(InputError, match=r"version 1, the champion of m, knows none .*\n.*registry.model_name"):
        decide(workspace, monkeypatch, split, student, champion)


def test_the_groups_are_logged_least_active_first(split: Split, student: Embeddings) -> None:
    own = evaluate(student, split, EvaluateConfig())
    groups = own.groups["activity"]
    assert _by_group(own) == {
        "ndcg_at_10_activity_1": groups[0]["ndcg_at_10"],
        "ndcg_at_10_activity_2": groups[1]["ndcg_at_10"],
    }
    assert groups[0]["ndcg_at_10"] < groups[1]["ndcg_at_10"], "the more active have item 1 masked, so one more is found"


def test_a_registered_model_names_all_packages_that_it_needs() -> None:
    code = "import sys, freqd.serve.recommender; print(*(m for m in sys.modules if m.split('.')[0] == 'freqd'))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    wanted = set()
    for name in loaded:
        tree = ast.parse(Path(str(importlib.util.find_spec(name).origin)).read_text())  # type: ignore[union-attr]
        for node in tree.body:  # what is imported within functions is asked for when it is called
            if isinstance(node, ast.Import):
                wanted |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                wanted.add(str(node.module).split(".")[0])
    assert wanted - set(sys.stdlib_module_names) - {"freqd"} <= {*PINNED, *NEEDED}
