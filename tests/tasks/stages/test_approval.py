"""A person's yes or no to a promotion: the form on a real Prefect server, and what is done with the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Pending, Running, Scheduled

from flows.approve import approve
from flows.ops import deployments
from freqd.config import RegistryConfig
from freqd.errors import InputError
from freqd.gate import WAITING, Check, Verdict
from freqd.storage.store import ArtifactRef, Facts
from tasks.mlops import registry
from tasks.mlops.audit import PROMOTE, REFUSE, Decision
from tasks.run_context import RunContext
from tasks.runtime.workspace import Workspace
from tasks.stage_entry import StageEntry
from tasks.stages import approval
from tasks.stages.approval import TAGS, Answer, pending, settle
from tasks.stages.gate import Question, ask_gate
from tasks.stages.register import KEY, Registration

GOOD = {"approve": "yes", "who": "Ann", "why": "the shop team has looked at it"}
POLICY = RegistryConfig(approval="ask", approval_hours=2)


def context_of(workspace: Workspace) -> RunContext:
    return RunContext(
        workdir=str(workspace.root), run_name="mine", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=1
    )  # fmt: skip


def verdict(word: str = WAITING, champion: str | None = None) -> Verdict:
    check = Check(name="size in bytes", value=8.0, limit="<= 9", passed=True)
    return Verdict(promoted=False, verdict=word, reasons=["it is better"], checks=[check], champion=champion, difference=None)  # fmt: skip


def champion(model: str) -> str | None:
    found = registry.champion_of(model)
    return None if found is None else str(found.version)


def wait(workspace: Workspace, model: str, found: Verdict) -> ArtifactRef:
    """What the stage register leaves of version 2."""
    ref = workspace.store.save(
        Facts.of(Registration(name=model, version="2", gate=found)), {"settings": {"approval": "ask", "seed": 0}}
    )
    StageEntry(
        refs={"registration": ref}, headline="", metrics={}, series=[], seconds=1.0, peak_bytes=0, run="mine"
    ).record(workspace.store, "register", f"key-{model}")
    for tag, value in ((KEY, f"key-{model}"), ("freqd.verdict", found.verdict), ("freqd.run", "mine")):
        MlflowClient().set_model_version_tag(model, "2", tag, value)
    return ref


# -- what is done with an answer ------------------------------------------------------------------------------------


def test_with_approval_a_yes_of_the_gate_moves_nothing(workspace: Workspace, model: str) -> None:
    yes = verdict("promoted").model_copy(update={"promoted": True})
    found = ask_gate(context_of(workspace), Question(model, "2", lambda present: yes, {}, ask=True))
    assert (found.promoted, found.verdict, champion(model)) == (False, WAITING, None)
    assert registry.trail(workspace).entries() == []
    no = verdict("not promoted")
    assert ask_gate(context_of(workspace), Question(model, "2", lambda present: no, {}, ask=True)) == no, (
        "a no needs no person"
    )


def test_yes_promotes_with_who_and_why_on_the_trail_and_the_version(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "1", Decision("ann", "first", {}))
    answer = Answer(said="yes", who="Bea", why="looked at it")
    wait(workspace, model, verdict(champion="1"))
    found = settle(workspace, model, "2", answer)
    assert found is not None
    assert (found.promoted, found.verdict, champion(model)) == (True, "promoted", "2")
    assert found.reasons == ["approved by Bea: looked at it", "it is better"]
    entry = registry.trail(workspace).entries()[-1]
    assert (entry.what, entry.who, entry.why, entry.previous) == (PROMOTE, "Bea", "looked at it", "1")
    assert entry.evidence["checks"][0]["name"] == "size in bytes"
    assert entry.evidence["policy"] == {"approval": "ask"}
    tags = MlflowClient().get_model_version(model, "2").tags
    assert tags["freqd.champion_by"] == "Bea"
    assert tags["freqd.verdict"] == "promoted"
    assert [tags[tag] for tag in TAGS.values()] == ["yes", "Bea", "looked at it"]
    assert settle(workspace, model, "2", Answer(said="no", who="Cy", why="too late")) is None, "the first answer counts"
    assert len(registry.trail(workspace).entries()) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(said="no", who="Bea", why="too few niche items"), "refused by Bea: too few niche items"),
        (Answer(said="nothing", who="gate of run mine", why="nobody answered within 2 hours"), "nobody answered within 2 hours"),
    ],
)  # fmt: skip
def test_no_and_no_answer_are_refusals(workspace: Workspace, model: str, answer: Answer, reason: str) -> None:
    wait(workspace, model, verdict())
    found = settle(workspace, model, "2", answer)
    assert found is not None
    assert (found.promoted, found.verdict, found.reasons[0]) == (False, "not promoted", reason)
    assert champion(model) is None
    entry = registry.trail(workspace).entries()[-1]
    assert (entry.what, entry.who, entry.why) == (REFUSE, answer.who, answer.why)
    assert MlflowClient().get_model_version(model, "2").tags["freqd.verdict"] == "not promoted"


def test_a_yes_does_not_push_aside_a_champion_that_the_person_has_not_seen(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "4", Decision("ann", "meanwhile", {}))
    answer = Answer(said="yes", who="Bea", why="looked at it")
    wait(workspace, model, verdict(champion="1"))
    found = settle(workspace, model, "2", answer)
    assert found is not None
    assert found.promoted is False
    assert "is version 4" in found.reasons[0]
    assert champion(model) == "4"
    assert [e.what for e in registry.trail(workspace).entries()] == [PROMOTE, REFUSE]


def test_only_a_version_that_waits_can_be_asked_about(workspace: Workspace, model: str) -> None:
    assert pending(workspace, model, "1") is None
    MlflowClient().set_model_version_tag(model, "1", "freqd.verdict", WAITING)
    with pytest.raises(InputError, match="what the gate found") as caught:
        pending(workspace, model, "1")
    assert "freqd promote 1" in caught.value.remedy
    with pytest.raises(InputError, match="9"):
        pending(workspace, model, "9")


# -- the question on the page ---------------------------------------------------------------------------------------


class Asked:
    """A question on the server, with the part of the worker that runs it."""

    def __init__(self, client: SyncPrefectClient, workspace: Workspace, model: str, policy: RegistryConfig) -> None:
        self.client, self._model = client, model
        approval.ask(context_of(workspace), wait(workspace, model, verdict()), policy)

    def run(self, end: str = "") -> FlowRun:
        """The question's flow run, or with ``-end`` the one that closes it."""
        (version,) = [v for v in MlflowClient().search_model_versions(f"name='{self._model}'") if str(v.version) == "2"]
        key = f"approval-{self._model}-2-{version.creation_timestamp}{end}"
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        (found,) = self.client.read_flow_runs(flow_run_filter=wanted)
        return found

    def work(self, end: str = "") -> StateType:
        """Run it as the worker does; the state in which it is then."""
        run = self.run(end)
        self.client.set_flow_run_state(run.id, Pending(), force=True)
        with suppress(Pause):
            run_flow(approve, flow_run=self.client.read_flow_run(run.id))
        state = self.run(end).state
        assert state is not None
        return state.type

    def answer(self, **given: Any) -> tuple[SetStateStatus, str]:
        found = self.client.resume_flow_run(self.run().id, run_input=given)
        return found.status, str(getattr(found.details, "reason", "") or "")

    def description(self) -> str:
        run = self.run()
        assert run.state is not None
        key = run.state.state_details.run_input_keyset["description"]  # type: ignore[index]
        return str(
            self.client.request("GET", "/flow_runs/{id}/input/{key}", path_params={"id": run.id, "key": key}).json()
        )


@pytest.fixture
def client(prefect_server: None, workspace: Workspace) -> Iterator[SyncPrefectClient]:
    deployments.deploy(workspace)
    with get_client(sync_client=True) as found:
        yield found


def test_bad_answers_are_refused_with_words_and_a_good_one_promotes(
    client: SyncPrefectClient, workspace: Workspace, model: str
) -> None:
    asked = Asked(client, workspace, model, POLICY)
    assert asked.work() == StateType.PAUSED, "suspended: its process has ended"
    assert "size in bytes" in asked.description()
    bad = [{}, {**GOOD, "approve": "perhaps"}, {**GOOD, "who": ""}, {**GOOD, "why": "   "}, {**GOOD, "extra": 1}]
    for answer, word in zip(bad, ("approve", "approve", "who", "why", "extra"), strict=True):
        status, reason = asked.answer(**answer)
        assert status == SetStateStatus.REJECT
        assert word in reason
    assert asked.answer(**GOOD)[0] == SetStateStatus.ACCEPT
    assert champion(model) is None, "the worker carries it out"
    assert asked.work() == StateType.COMPLETED
    assert champion(model) == "2"
    tags = MlflowClient().get_model_version(model, "2").tags
    assert [tags[tag] for tag in TAGS.values()] == ["yes", "Ann", GOOD["why"]]
    assert asked.work("-end") == StateType.COMPLETED
    assert [e.what for e in registry.trail(workspace).entries()] == [PROMOTE], "nothing is left to close"


def test_a_run_that_is_repeated_asks_once(client: SyncPrefectClient, workspace: Workspace, model: str) -> None:
    asked = Asked(client, workspace, model, POLICY)
    first = asked.run().id
    assert Asked(client, workspace, model, POLICY).run().id == first
    closing = asked.run("-end")
    assert closing.parameters["question"] == str(first)
    assert closing.expected_start_time is not None
    left = closing.expected_start_time - datetime.now(UTC)
    assert timedelta(hours=2) - timedelta(minutes=1) < left <= timedelta(hours=2) + approval.GRACE


def test_a_run_that_is_resumed_past_the_form_asks_again(
    client: SyncPrefectClient, workspace: Workspace, model: str
) -> None:
    asked = Asked(client, workspace, model, POLICY)
    assert asked.work() == StateType.PAUSED
    client.set_flow_run_state(asked.run().id, Scheduled(), force=True)
    assert asked.work() == StateType.PAUSED
    assert "without an answer" in asked.description()
    assert asked.answer(**{**GOOD, "approve": "no"})[0] == SetStateStatus.ACCEPT
    assert asked.work() == StateType.COMPLETED
    assert champion(model) is None


def test_without_an_answer_in_time_that_is_written_down(
    client: SyncPrefectClient, workspace: Workspace, model: str
) -> None:
    asked = Asked(client, workspace, model, RegistryConfig(approval="ask", approval_hours=4 / 3600))
    assert asked.work() == StateType.PAUSED
    time.sleep(5)
    assert asked.answer(**GOOD)[0] == SetStateStatus.REJECT, "too late"
    assert asked.work("-end") == StateType.COMPLETED
    (entry,) = registry.trail(workspace).entries()
    assert (entry.what, entry.who) == (REFUSE, f"{registry.GATE}mine")
    assert entry.why.startswith("nobody answered until ")
    assert MlflowClient().get_model_version(model, "2").tags["freqd.verdict"] == "not promoted"


def test_an_answer_that_is_being_carried_out_is_not_closed(
    client: SyncPrefectClient, workspace: Workspace, model: str
) -> None:
    asked = Asked(client, workspace, model, RegistryConfig(approval="ask", approval_hours=1 / 3600))
    client.set_flow_run_state(asked.run().id, Running(), force=True)
    time.sleep(1)
    assert asked.work("-end") == StateType.COMPLETED
    assert registry.trail(workspace).entries() == []


def test_what_does_not_wait_or_cannot_be_asked_is_told_at_once(
    prefect_server: None, workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "run_deployment", None)
    approval.ask(context_of(workspace), wait(workspace, model, verdict("not promoted")), POLICY)
    monkeypatch.setattr(approval, "DEPLOYMENT", "freqd-approval/elsewhere")
    with pytest.raises(InputError, match="freqd-approval/elsewhere") as caught:
        approval.require_deployment()
    assert "freqd up" in caught.value.remedy
