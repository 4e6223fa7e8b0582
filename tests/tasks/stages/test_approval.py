"""A person's yes or no to a promotion: the form on a real Prefect server, and what is done with the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.runtime import flow_run
from prefect.states import Running

from freqd.config import RegistryConfig
from freqd.gate import WAITING, Check, Verdict
from freqd.storage.store import ArtifactRef, Facts
from tasks.mlops import registry
from tasks.mlops.audit import PROMOTE, REFUSE
from tasks.run_context import RunContext
from tasks.runtime.workspace import Workspace
from tasks.stages import approval
from tasks.stages.approval import TAGS, Answer, settle
from tasks.stages.register import _gate as gate

GOOD = {"approve": "yes", "who": "Ann", "why": "the shop team has looked at it"}
POLICY = RegistryConfig(approval="ask", approval_hours=30 / 3600)
STARTED: list[str] = []
"""Flow runs of this module, the latest last."""


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


def registration(workspace: Workspace, model: str, found: Verdict) -> ArtifactRef:
    return workspace.store.save(Facts({"name": model, "version": "2", "gate": found.model_dump()}), {})


# -- what is done with an answer ------------------------------------------------------------------------------------


def test_with_approval_a_yes_of_the_gate_moves_nothing(workspace: Workspace, model: str) -> None:
    yes = verdict("promoted").model_copy(update={"promoted": True})
    found = gate(context_of(workspace), model, "2", lambda present: yes, {}, ask=True)
    assert (found.promoted, found.verdict, champion(model)) == (False, WAITING, None)
    assert registry.trail(workspace).entries() == []
    no = verdict("not promoted")
    assert gate(context_of(workspace), model, "2", lambda present: no, {}, ask=True) == no, "a no needs no person"


def test_yes_promotes_with_who_and_why_on_the_trail_and_the_version(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "1", who="ann", why="first", evidence={})
    answer = Answer(said="yes", who="Bea", why="looked at it")
    found = settle(context_of(workspace), model, "2", verdict(champion="1"), answer, POLICY)
    assert (found.promoted, found.verdict, champion(model)) == (True, "promoted", "2")
    assert found.reasons == ["approved by Bea: looked at it", "it is better"]
    entry = registry.trail(workspace).entries()[-1]
    assert (entry["what"], entry["who"], entry["why"], entry["previous"]) == (PROMOTE, "Bea", "looked at it", "1")
    assert entry["evidence"]["checks"][0]["name"] == "size in bytes"
    tags = MlflowClient().get_model_version(model, "2").tags
    assert tags["freqd.champion_by"] == "Bea"
    assert tags["freqd.verdict"] == "promoted"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(said="no", who="Bea", why="too few niche items"), "refused by Bea: too few niche items"),
        (Answer(said="nothing", who="gate of run mine", why="nobody answered within 2 hours"), "nobody answered within 2 hours"),
    ],
)  # fmt: skip
def test_no_and_no_answer_are_refusals(workspace: Workspace, model: str, answer: Answer, reason: str) -> None:
    found = settle(context_of(workspace), model, "2", verdict(), answer, POLICY)
    assert (found.promoted, found.verdict, found.reasons[0]) == (False, "not promoted", reason)
    assert champion(model) is None
    entry = registry.trail(workspace).entries()[-1]
    assert (entry["what"], entry["who"], entry["why"]) == (REFUSE, answer.who, answer.why)
    assert MlflowClient().get_model_version(model, "2").tags["freqd.verdict"] == "not promoted"


def test_a_yes_does_not_push_aside_a_champion_that_the_person_has_not_seen(workspace: Workspace, model: str) -> None:
    registry.promote(workspace, model, "4", who="ann", why="meanwhile", evidence={})
    answer = Answer(said="yes", who="Bea", why="looked at it")
    found = settle(context_of(workspace), model, "2", verdict(champion="1"), answer, POLICY)
    assert found.promoted is False
    assert "is version 4" in found.reasons[0]
    assert champion(model) == "4"
    assert [e["what"] for e in registry.trail(workspace).entries()] == [PROMOTE, REFUSE]


# -- the question on the page ---------------------------------------------------------------------------------------


@flow(name="asks")
def asks(context: RunContext, ref: ArtifactRef, policy: RegistryConfig) -> Answer | None:
    STARTED.append(str(flow_run.id))
    return approval.answer_for(context, ref, policy)


class Person:
    """Somebody at the page: answers a paused run from another thread, and keeps what the server says."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._before = len(STARTED)
        self.replies: list[tuple[SetStateStatus, str]] = []
        self.descriptions: list[str] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> Person:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _answer(self) -> None:
        with get_client(sync_client=True) as client:
            for answer in self._answers:
                run = self._paused(client)
                details = run.state.state_details
                key = details.run_input_keyset["description"]
                self.descriptions.append(str(client.request("GET", f"/flow_runs/{run.id}/input/{key}").json()))
                if answer is None:
                    client.set_flow_run_state(run.id, Running(), force=True)
                    continue
                found = client.resume_flow_run(run.id, run_input=answer)
                self.replies.append((found.status, getattr(found.details, "reason", "") or ""))

    def _paused(self, client: Any) -> Any:
        def asked() -> Any:
            run = client.read_flow_run(STARTED[-1]) if len(STARTED) > self._before else None
            return run if run is not None and run.state.type == StateType.PAUSED and self._form(client, run) else None

        return wait_for(asked)

    @staticmethod
    def _form(client: Any, run: Any) -> bool:
        """Whether the form is there: it is written right after the pause, its description last."""
        wanted = run.state.state_details.run_input_keyset["description"]
        found = client.request("POST", f"/flow_runs/{run.id}/input/filter", json={"prefix": wanted}).json()
        return bool(found)


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"did not happen within {seconds} s")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.3)


@pytest.mark.usefixtures("prefect_server")
def test_bad_answers_are_refused_with_words_and_a_good_one_resumes(workspace: Workspace, model: str) -> None:
    ref = registration(workspace, model, verdict())
    bad = [{}, {**GOOD, "approve": "perhaps"}, {**GOOD, "who": ""}, {**GOOD, "why": "   "}, {**GOOD, "extra": 1}]
    with Person(*bad, GOOD) as person:
        answer = asks(context_of(workspace), ref, POLICY)
    assert answer == Answer(said="yes", who="Ann", why="the shop team has looked at it")
    *refusals, last = person.replies
    assert [status for status, _ in refusals] == [SetStateStatus.REJECT] * len(bad)
    for (_, reason), word in zip(refusals, ("approve", "approve", "who", "why", "extra"), strict=True):
        assert word in reason
    assert last[0] == SetStateStatus.ACCEPT
    assert "size in bytes" in person.descriptions[0]
    tags = MlflowClient().get_model_version(model, "2").tags
    assert [tags[tag] for tag in TAGS.values()] == ["yes", "Ann", GOOD["why"]]
    assert asks(context_of(workspace), ref, POLICY) == answer, "who has answered is not asked again"


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_is_resumed_past_the_form_asks_again(workspace: Workspace, model: str) -> None:
    ref = registration(workspace, model, verdict())
    with Person(None, {**GOOD, "approve": "no"}) as person:
        answer = asks(context_of(workspace), ref, POLICY)
    assert answer is not None
    assert answer.said == "no"
    assert "without an answer" in person.descriptions[1]


@pytest.mark.usefixtures("prefect_server")
def test_without_an_answer_in_time_the_run_goes_on_and_says_so(workspace: Workspace, model: str) -> None:
    ref = registration(workspace, model, verdict())
    soon = RegistryConfig(approval="ask", approval_hours=1 / 3600)
    state = asks(context_of(workspace), ref, soon, return_state=True)
    assert state.is_completed(), state.message
    answer = state.result()
    assert answer.said == "nothing"
    assert "nobody answered within" in answer.why
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(STARTED[-1]).state.type == StateType.COMPLETED


@pytest.mark.usefixtures("prefect_server")
def test_a_verdict_that_does_not_wait_asks_nobody(workspace: Workspace, model: str) -> None:
    ref = registration(workspace, model, verdict("not promoted"))
    assert asks(context_of(workspace), ref, POLICY) is None
