"""Promotion, roll-back and the audit trail, on an embedded MLflow store."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from freqd.errors import InputError
from freqd.gate import Verdict
from freqd.storage.files import folder_digest
from tasks.mlops import pyfunc_model, registry, versions
from tasks.mlops.audit import FAIL, PROMOTE, REFUSE, ROLLBACK, AuditTrail, Change, Decision
from tasks.run_context import RunContext
from tasks.runtime.workspace import Workspace
from tasks.stages.gate import Question, ask_gate
from tests.serve.http.shop import RECOMMENDER

BY_HAND = Decision("ann@here", "it is better", {"ndcg_at_10": "0.2"})


def champion(model: str) -> str | None:
    found = registry.champion_of(model)
    return None if found is None else str(found.version)


def test_promotion_moves_the_alias_writes_the_trail_and_tags_the_version(workspace: Workspace, model: str) -> None:
    assert champion(model) is None
    first = registry.promote(workspace, model, "1", BY_HAND)
    second = registry.promote(workspace, model, "2", BY_HAND)
    assert (first.previous, second.previous, champion(model)) == (None, "1", "2")
    entries = registry.trail(workspace).entries()
    assert [(e.what, e.version, e.previous) for e in entries] == [(PROMOTE, "1", None), (PROMOTE, "2", "1")]
    assert entries[1].who == "ann@here"
    assert entries[1].evidence == {"ndcg_at_10": "0.2"}
    tags = MlflowClient().get_model_version(model, "2").tags
    assert tags["freqd.champion_by"] == "ann@here"
    assert tags["freqd.champion_after"] == "1"
    assert tags["freqd.champion_why"] == "it is better"


def test_promoting_the_champion_again_changes_nothing(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "1", BY_HAND)
    again = registry.promote(workspace, model, "1", BY_HAND)
    assert again.changed is False
    assert len(registry.trail(workspace).entries()) == 1
    assert registry.promote(workspace, model, "champion", BY_HAND).changed is False, "an alias names a version too"


def test_a_decision_against_another_champion_is_refused(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "1", replace(BY_HAND, against=None))
    with pytest.raises(registry.ChampionMovedError, match="version 1"):
        registry.promote(workspace, model, "2", replace(BY_HAND, against=None))
    with pytest.raises(registry.ChampionMovedError):
        registry.promote(workspace, model, "2", replace(BY_HAND, against="3"))
    assert champion(model) == "1"
    assert registry.promote(workspace, model, "2", replace(BY_HAND, against="1")).changed


def test_of_many_promotions_at_once_each_names_the_one_before_it(workspace: Workspace, model: str) -> None:
    threads = [
        threading.Thread(target=registry.promote, args=(workspace, model, version, BY_HAND))
        for version in ("1", "2", "3", "4")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail = registry.trail(workspace)
    chain = [(entry.previous, entry.version) for entry in trail.entries()]
    assert [previous for previous, _ in chain] == [None, *(version for _, version in chain[:-1])]
    assert champion(model) == chain[-1][1]
    assert trail.check() == []


def test_rollback_goes_back_one_champion_at_a_time(workspace: Workspace, model: str) -> None:
    for version in ("1", "3", "2"):
        registry.promote(workspace, model, version, BY_HAND)
    assert registry.rollback(workspace, model, who="ann", why="slow").version == "3"
    assert champion(model) == "3"
    assert registry.rollback(workspace, model, who="ann", why="slow").version == "1"
    with pytest.raises(InputError, match="first champion"):
        registry.rollback(workspace, model, who="ann", why="slow")
    assert champion(model) == "1"
    assert [e.what for e in registry.trail(workspace).entries()] == [PROMOTE] * 3 + [ROLLBACK] * 2


def test_rollback_needs_a_trail_and_a_version_that_is_still_there(workspace: Workspace, model: str) -> None:
    with pytest.raises(InputError, match="has no champion"):
        registry.rollback(workspace, model, who="ann", why="")
    MlflowClient().set_registered_model_alias(model, "champion", "3")
    with pytest.raises(InputError, match="does not say how version 3"):
        registry.rollback(workspace, model, who="ann", why="")
    registry.promote(workspace, model, "4", BY_HAND)
    MlflowClient().delete_model_version(model, "3")
    with pytest.raises(InputError, match="no version '3'"):
        registry.rollback(workspace, model, who="ann", why="")
    assert champion(model) == "4"


@pytest.mark.parametrize("version", ["99", "0", "nonsense", "-1", ""])
def test_unknown_versions_are_named_with_those_there_are(workspace: Workspace, model: str, version: str) -> None:
    with pytest.raises(InputError, match="1, 2, 3, 4"):
        registry.promote(workspace, model, version, BY_HAND)
    assert registry.trail(workspace).entries() == []


def test_models_are_resolved_by_name(model: str) -> None:
    assert registry.resolve(model) == model
    with pytest.raises(InputError, match=model):
        registry.resolve("no such model")


def test_a_switch_that_fails_is_written_down_as_failed(
    workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote(workspace, model, "1", BY_HAND)

    def broken(*_: object) -> None:
        raise MlflowException("the disk is full")

    monkeypatch.setattr(registry.tracking.client(), "set_registered_model_alias", broken)
    with pytest.raises(MlflowException):
        registry.promote(workspace, model, "2", BY_HAND)
    monkeypatch.undo()
    last = registry.trail(workspace).entries()[-1]
    assert (last.what, last.version) == (FAIL, "2")
    assert "the disk is full" in last.why
    assert champion(model) == "1"
    assert registry.promote(workspace, model, "2", BY_HAND).previous == "1"


# -- a promotion that was killed between its entry and the switch -----------------------------------------------------


def interrupted(workspace: Workspace, model: str, version: str, who: str) -> None:
    """What a promotion leaves that is killed then: its entry, and the champion that was there before."""
    registry.trail(workspace).append(
        PROMOTE, Change(model, version, champion(model)), Decision(who, "it is better", {})
    )


def moves(workspace: Workspace, model: str) -> list[tuple[str, str, str | None]]:
    return [(e.what, e.version, e.previous) for e in registry.trail(workspace).entries(model)]


def test_a_gate_that_was_killed_goes_on_with_its_own_entry(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "1", BY_HAND)
    interrupted(workspace, model, "2", "gate of run mine")
    ask_gate(_context(workspace), Question(model, "2", lambda present: _verdict(True), {}))
    assert champion(model) == "2"
    assert moves(workspace, model) == [(PROMOTE, "1", None), (PROMOTE, "2", "1")], "the move is not told twice"


@pytest.mark.parametrize("version", ["2", "3"])
def test_an_interrupted_promotion_is_noted_by_the_next_one(workspace: Workspace, model: str, version: str) -> None:
    """By a person the same move is another decision, with a reason of its own."""
    registry.promote(workspace, model, "1", BY_HAND)
    interrupted(workspace, model, "2", "gate of run mine")
    registry.promote(workspace, model, version, BY_HAND)
    assert champion(model) == version
    assert moves(workspace, model)[1:] == [(PROMOTE, "2", "1"), (FAIL, "2", "1"), (PROMOTE, version, "1")]
    assert "interrupted" in registry.trail(workspace).entries(model)[2].why
    registry.promote(workspace, model, "4", BY_HAND)
    assert moves(workspace, model)[-1] == (PROMOTE, "4", version), "it is noted once"


def test_a_roll_back_passes_over_what_never_was_a_champion(workspace: Workspace, model: str) -> None:
    for version in "123":
        registry.promote(workspace, model, version, BY_HAND)
    interrupted(workspace, model, "2", "gate of run mine")
    assert registry.rollback(workspace, model, who="ann", why="bad").version == "2"
    assert moves(workspace, model)[-2:] == [(FAIL, "2", "3"), (ROLLBACK, "2", "3")]
    assert registry.rollback(workspace, model, who="ann", why="worse").version == "1", "2 came after 1, not after 3"
    registry.promote(workspace, model, "2", BY_HAND)
    registry.promote(workspace, model, "4", BY_HAND)
    registry.promote(workspace, model, "2", BY_HAND)
    assert registry.rollback(workspace, model, who="ann", why="again").version == "4", "the latest that counts"


def test_compare_shows_what_differs_and_whether_the_numbers_may_be_compared(model: str) -> None:
    found = versions.compare(model, "1", "2")
    assert found.same_data is True
    assert found.metrics["student_ndcg_at_10"] == pytest.approx((0.1, 0.2))
    assert found.params == {"distill.dim": ("8", "16")}
    assert "other" not in found.metrics
    assert versions.compare(model, "1", "3").same_data is False
    with pytest.raises(InputError, match="99"):
        versions.compare(model, "1", "99")


def test_versions_are_listed_latest_first_with_their_aliases(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "2", BY_HAND)
    found = registry.versions(model)
    assert [str(v.version) for v in found] == ["4", "3", "2", "1"]
    assert [versions.describe(v).aliases for v in found] == [[], [], ["champion"], []]


# -- the trail itself -----------------------------------------------------------------------------------------------


def _fill(trail: AuditTrail, count: int = 3) -> None:
    for number in range(count):
        trail.append(REFUSE, Change("m", str(number), None), Decision("gate", "a\nb", {}))


def test_the_trail_is_one_json_line_an_entry_and_only_grows(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    assert trail.entries() == []
    _fill(trail)
    before = trail.path.read_bytes()
    _fill(trail, 1)
    assert trail.path.read_bytes().startswith(before)
    assert [json.loads(line)["version"] for line in trail.path.read_text().splitlines()] == ["0", "1", "2", "0"]
    assert trail.check() == []
    assert trail.entries("other") == []


def test_a_line_that_was_changed_or_taken_out_is_noticed(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    _fill(trail)
    lines = trail.path.read_text().splitlines(keepends=True)
    trail.path.write_text(lines[0] + lines[1].replace("gate", "nobody") + lines[2])
    assert trail.check() == [3]
    trail.path.write_text(lines[0] + lines[2])
    assert trail.check() == [2]
    trail.path.write_text("".join(lines[1:]))
    assert trail.check() == [1]


def test_a_torn_line_is_passed_over_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    _fill(trail, 2)
    with trail.path.open("ab") as file:
        file.write(b'{"time": "2026-')
    _fill(trail, 1)
    assert [entry.version for entry in trail.entries()] == ["0", "1", "0"]
    assert trail.check() == [3]


# -- the gate moves aliases the same way -----------------------------------------------------------------------------


def _verdict(promoted: bool) -> Verdict:
    words = "promoted" if promoted else "not promoted"
    return Verdict(promoted=promoted, verdict=words, reasons=["because"], checks=[], champion=None, difference=None)


def _context(workspace: Workspace) -> RunContext:
    return RunContext(
        workdir=str(workspace.root), run_name="mine", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=1
    )  # fmt: skip


def test_the_gate_judges_again_if_another_version_was_promoted_meanwhile(workspace: Workspace, model: str) -> None:
    judged_against: list[str | None] = []

    def decide(present: Any) -> Verdict:
        judged_against.append(None if present is None else str(present.version))
        if len(judged_against) == 1:
            registry.promote(workspace, model, "1", BY_HAND)
        return _verdict(len(judged_against) == 1)

    found = ask_gate(_context(workspace), Question(model, "2", decide, {"policy": {}}))
    assert judged_against == [None, "1"]
    assert found.promoted is False
    assert champion(model) == "1", "the verdict against no champion must not push aside the one that came meanwhile"
    last = registry.trail(workspace).entries()[-1]
    assert (last.what, last.version, last.previous, last.who) == (REFUSE, "2", "1", "gate of run mine")


def test_a_promotion_by_the_gate_carries_its_evidence(workspace: Workspace, model: str) -> None:
    ask_gate(_context(workspace), Question(model, "1", lambda present: _verdict(True), {"ndcg_at_10": "0.1"}))
    assert champion(model) == "1"
    (entry,) = registry.trail(workspace).entries(model)
    assert entry.why == "because"
    assert entry.evidence["ndcg_at_10"] == "0.1"
    assert entry.evidence["checks"] == []


def test_a_version_whose_files_were_changed_is_not_served(tmp_path: Path) -> None:
    """By hand, below the registry: the digest of its registration tells."""
    experiment = MlflowClient().create_experiment(
        f"changed-{tmp_path.name}", artifact_location=(tmp_path / "a").as_uri()
    )
    (tmp_path / "bundle").mkdir()
    RECOMMENDER.write(tmp_path / "bundle")
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(
            name="student",
            python_model=pyfunc_model.__file__,
            artifacts={"bundle": str(tmp_path / "bundle")},
            pip_requirements=["numpy"],
        )
    name = f"changed-{tmp_path.name}"
    tags = {registry.DIGEST: folder_digest(tmp_path / "bundle")}
    version = str(mlflow.register_model(info.model_uri, name, tags=tags).version)
    assert registry.load(name, version).ask("u5", k=1).items
    (stored,) = (tmp_path / "a").rglob("users.parquet")
    pl.read_parquet(stored).reverse().write_parquet(stored)
    with pytest.raises(registry.BrokenModelError, match="digest"):
        registry.load(name, version)
    MlflowClient().delete_registered_model(name)
