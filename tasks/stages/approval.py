"""A person's yes or no to a promotion, asked on the Prefect page, and what is done with it.

The run that registered a version ends, and leaves two flow runs of ``flows.approve`` on the server: the question, which is
suspended until somebody answers, so that no process waits, and one that is planned for the end of the time and writes down
that nobody did. The page's form is checked by the server: a bad answer is refused with the reason, the question stays, and a
better answer resumes it. An answer is kept as tags of the version before anything is moved, so that it outlives a kill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast
from uuid import UUID

from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.settings import get_current_settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freqd import numbers as fmt
from freqd.config import RegistryConfig
from freqd.errors import InputError
from freqd.gate import NOT_PROMOTED, PROMOTED, WAITING, Check, Verdict
from freqd.json_types import JsonObject
from freqd.storage.store import ArtifactRef
from tasks.mlops import registry, tracking
from tasks.mlops.audit import Decision, readable
from tasks.mlops.versions import explain
from tasks.run_context import RunContext
from tasks.runtime.page import Shown, show
from tasks.runtime.progress import console
from tasks.runtime.workspace import Workspace
from tasks.stage_entry import StageEntry
from tasks.stages import register
from tasks.stages.register import Registration

FLOW, DEPLOYMENT = "freqd-approval", "freqd-approval/approve"
"""Names of the flow of a question and of its deployment."""
GRACE = timedelta(minutes=2)
"""How long after its time a question is closed: an answer of the last second is carried out first."""
TAGS = {"said": "freqd.approval", "who": "freqd.approval_by", "why": "freqd.approval_why"}
TAG_LENGTH = 4000


class ApprovalForm(RunInput):
    """What the page asks for."""

    approve: Literal["yes", "no"] = Field(description="yes: it becomes champion; no: the champion stays.")
    who: str = Field(min_length=2, max_length=200, pattern=r"\S", description="Your name, for the audit trail.")
    why: str = Field(min_length=2, max_length=2000, pattern=r"\S", description="The reason, for the audit trail.")


class Answer(BaseModel):
    """What a person said, or that nobody did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: Literal["yes", "no", "nothing"]
    who: str
    why: str


@dataclass(frozen=True)
class Pending:
    """A version that waits for a person.

    Attributes:
        version: in the registry.
        verdict: what the gate found.
        policy: the settings that it went by, as JSON.
    """

    version: ModelVersion
    verdict: Verdict
    policy: JsonObject

    @property
    def answer(self) -> Answer | None:
        """What somebody said already, before a process was killed that was to do it."""
        tags = self.version.tags
        if TAGS["said"] not in tags:
            return None
        return Answer.model_validate({field: tags[tag] for field, tag in TAGS.items()})


def pending(workspace: Workspace, model: str, version: str) -> Pending | None:
    """What is known of a version that waits for a person; None if it does not wait, or not any more.

    All of it comes from the registry, and nothing from whoever asks.

    Args:
        workspace: holds what the stage register left.
        model: name of the registered model.
        version: the version.

    Raises:
        InputError: there is no such version, or what the gate found is gone.
    """
    found = registry.find(model, version)
    if found.tags.get("freqd.verdict") != WAITING:
        return None
    entry = StageEntry.recall(workspace.store, "register", found.tags.get(register.KEY, ""))
    if entry is None:
        raise InputError(
            f"what the gate found of {model} version {version} is not in {workspace.root}",
            f"see it with `freqd models show {version}`, and use `freqd promote {version} --why ...`",
        )
    ref = entry.refs["registration"]
    settings = workspace.store.manifest(ref).settings
    return Pending(
        version=found,
        verdict=Registration.open(workspace.store, ref).gate,
        policy={name: settings[name] for name in RegistryConfig.model_fields if name in settings},
    )


def require_deployment() -> None:
    """See that the Prefect server knows the flow that asks.

    Raises:
        InputError: it does not.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            raise InputError(
                f"registry.approval = 'ask' needs the deployment {DEPLOYMENT}, which the Prefect server does not have",
                "`freqd up` makes it, and `freqd deploy` on a server of yours; or leave registry.approval out and use `freqd promote`",
            ) from error


def ask(context: RunContext, registration: ArtifactRef, policy: RegistryConfig) -> None:
    """Put the question on the server if the verdict waits for an answer; once, however often a run is repeated.

    Args:
        context: the run.
        registration: what the stage register left.
        policy: how long to wait.
    """
    entry = Registration.open(context.workspace.store, registration)
    if entry.gate.verdict != WAITING:
        return
    model, version = entry.name, entry.version
    found = registry.find(model, version)
    if (said := found.tags.get("freqd.verdict", "")) != WAITING:
        console.print(f"{'approval':<18}  {model} version {version} was decided since: {said}", soft_wrap=True)
        return
    until = datetime.now(UTC) + timedelta(hours=policy.approval_hours)
    given = {"model": model, "version": version, "until": until.isoformat(), "workdir": context.workdir}
    key = f"approval-{model}-{version}-{found.creation_timestamp}"
    question = _plan(given, key, None)
    _plan({**given, "question": str(question)}, f"{key}-end", until + GRACE)
    what = f"{model} version {version} waits for a yes on the Prefect page: {_address(question)}"
    console.print(f"{'approval':<18}  {what}", soft_wrap=True)


def _plan(given: Mapping[str, str], key: str, time: datetime | None) -> UUID:
    """A flow run of the deployment, made now or found by its key, and not waited for."""
    run = run_deployment(
        DEPLOYMENT, parameters=dict(given), scheduled_time=time, timeout=0, as_subflow=False, idempotency_key=key
    )
    return cast(FlowRun, run).id  # a coroutine only where one calls


def answer_of_a_person(waiting: Pending, until: datetime) -> Answer:
    """Suspend the flow run until somebody answers; to be called by the flow, which then begins again from its top.

    Args:
        waiting: what is asked about.
        until: when the server gives the question up.
    """
    model, version, verdict = waiting.version.name, waiting.version.version, waiting.verdict
    rows = [_line(check) for check in verdict.checks]
    may = f"**{model} version {version} may become champion.** {'; '.join(verdict.reasons)}"
    question = "\n".join([may, "", *rows])
    attempt, wrong = 0, ""
    while True:
        attempt += 1
        form = ApprovalForm.with_initial_data(description=f"{wrong}{question}")
        left = math.ceil((until - datetime.now(UTC)).total_seconds())
        try:
            found = suspend_flow_run(form, timeout=max(left, 1), key=f"approval-{attempt}")
        except ValidationError:  # somebody set the state by hand, past the form
            wrong = "The run was resumed without an answer, so it asks again. "
            get_run_logger().warning(wrong.strip())
            continue
        return Answer(said=found.approve, who=readable(found.who.strip()), why=readable(found.why.strip()))


def answer_of_nobody(waiting: Pending, question: UUID, until: datetime) -> Answer | None:
    """That nobody answered in time; None if there is time left, or an answer is being carried out.

    Args:
        waiting: what was asked about.
        question: the flow run that asked.
        until: when the time is over.
    """
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(question).state
    answered = state is not None and state.type in {StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING}
    if answered or datetime.now(UTC) < until:
        return None
    who = f"{registry.GATE}{waiting.version.tags.get('freqd.run', '')}"
    return Answer(said="nothing", who=who, why=f"nobody answered until {until:%Y-%m-%d %H:%M} UTC")


def settle(workspace: Workspace, model: str, version: str, answer: Answer) -> Verdict | None:
    """Do what the answer says, and write down who said what, and why; the verdict that comes of it.

    A yes counts only against the champion that the gate compared with: who approved it saw those numbers. Only the first of
    several answers counts.

    Args:
        workspace: the working directory.
        model: name of the registered model.
        version: that waits.
        answer: a person's.

    Returns:
        None if the version does not wait any more.

    Raises:
        InputError: as ``pending``.
    """
    with registry.lock(workspace, model):
        waiting = pending(workspace, model, version)
        if waiting is None:
            return None
        for field, value in answer.model_dump().items():
            tracking.client().set_model_version_tag(model, version, TAGS[field], value[:TAG_LENGTH])
        settled = _carry_out(workspace, waiting, answer)
        explain(model, version, settled.verdict, settled.reasons)
    return settled


def tell(model: str, version: str, verdict: Verdict) -> None:
    """Put a verdict into the log and onto the page of the flow run that calls."""
    headline = f"{model} version {version}: {verdict.verdict}, {'; '.join(verdict.reasons)}"
    get_run_logger().info("%s", headline)
    show([Shown(key="gate", content=[check.model_dump() for check in verdict.checks], description=headline)])


def _carry_out(workspace: Workspace, waiting: Pending, answer: Answer) -> Verdict:
    """Promote, or write down the refusal."""
    model, version, verdict = waiting.version.name, str(waiting.version.version), waiting.verdict
    evidence = {
        **registry.evidence_of(waiting.version),
        "policy": waiting.policy,
        "checks": [check.model_dump() for check in verdict.checks],
        "difference": verdict.difference,
    }
    promoted, reason, why = answer.said == "yes", _reason(answer), answer.why
    if promoted:
        try:
            decision = Decision(answer.who, answer.why, evidence, against=verdict.champion)
            registry.promote(workspace, model, version, decision)
        except registry.ChampionMovedError as error:
            promoted, reason = False, f"{reason}, but meanwhile {error}: compare again, then `freqd promote {version}`"
            why = reason
    if not promoted:
        registry.refuse(workspace, model, version, Decision(answer.who, why, evidence))
    return verdict.model_copy(
        update={
            "promoted": promoted,
            "verdict": PROMOTED if promoted else NOT_PROMOTED,
            "reasons": [reason, *verdict.reasons],
        }
    )


def _reason(answer: Answer) -> str:
    said = {"yes": f"approved by {answer.who}: ", "no": f"refused by {answer.who}: ", "nothing": ""}
    return said[answer.said] + answer.why


def _line(check: Check) -> str:
    value = "not known" if check.value is None else fmt.plain(check.value)
    required = "" if check.limit == "none" else f" (required {check.limit})"
    return f"- {check.name}: {value}{required}" + (f"; {check.detail}" if check.detail else "")


def _address(flow_run: UUID) -> str:
    """Where the page of a flow run is."""
    settings = get_current_settings()
    page = settings.ui_url or (settings.api.url or "").removesuffix("/api")
    return f"{page}/runs/flow-run/{flow_run}"
