"""A person's yes or no to a promotion, asked on the Prefect page, and what is done with it.

The flow run is paused in its process, which costs nothing but memory; a suspended one would need a worker, and so a run
by hand could not ask. The page's form is checked by the server: a bad answer is refused with the reason, the run stays
paused, and a better answer resumes it. An answer is kept as tags of the version before anything is moved, so that a
run that was killed in between does not ask a second time.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.settings import get_current_settings
from prefect.states import Running
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freqd.config import RegistryConfig
from freqd.gate import NOT_PROMOTED, PROMOTED, WAITING, Check, Verdict
from freqd.storage.store import ArtifactRef, Facts
from tasks.mlops import registry, tracking
from tasks.mlops.audit import readable
from tasks.run_context import RunContext, flow_run_id
from tasks.runtime.lease import give_back
from tasks.runtime.page import Shown
from tasks.runtime.progress import console
from tasks.stage import Only, Result, Stage, stage
from tasks.stages.register import Registered

POLL_SECONDS = 5
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


def answer_for(context: RunContext, registration: ArtifactRef, policy: RegistryConfig) -> Answer | None:
    """The answer to a verdict that waits for one, given earlier or waited for now; None if the verdict does not wait.

    To be called by the flow, which it pauses.

    Args:
        context: the run.
        registration: what the stage register left.
        policy: how long to wait.
    """
    entry = context.workspace.store.open(registration, Facts).values
    verdict = Verdict.model_validate(entry["gate"])
    if verdict.verdict != WAITING:
        return None
    name, version = entry["name"], entry["version"]
    tags = tracking.client().get_model_version(name, version).tags
    if TAGS["said"] in tags:
        return Answer.model_validate({field: tags[tag] for field, tag in TAGS.items()})
    answer = _ask(f"{name} version {version}", verdict, policy.approval_hours) or Answer(
        said="nothing",
        who=f"{registry.GATE}{context.run_name}",
        why=f"nobody answered within {policy.approval_hours:g} hours",
    )
    for field, value in answer.model_dump().items():
        tracking.client().set_model_version_tag(name, version, TAGS[field], value[:TAG_LENGTH])
    return answer


@stage("approval", Registered)
def approval(at: Stage, registration: ArtifactRef, answer: Answer, policy: Annotated[RegistryConfig, Only()]) -> Result:
    """Make the version the champion if the answer is yes; write down who said what, and why, in any case."""
    entry = at.open(registration, Facts).values
    verdict = settle(at.run, entry["name"], entry["version"], Verdict.model_validate(entry["gate"]), answer, policy)
    gate = Shown(
        key="gate",
        content=[check.model_dump() for check in verdict.checks],
        description=f"{entry['name']} version {entry['version']}: {verdict.verdict}. " + "; ".join(verdict.reasons),
    )
    headline = f"{entry['name']} version {entry['version']}: {verdict.verdict}, {'; '.join(verdict.reasons)}"
    result = Facts({**entry, "gate": verdict.model_dump()})
    return Result({"registration": result}, headline, {"promoted": int(verdict.promoted)}, shown=[gate])


def settle(
    context: RunContext, name: str, version: str, verdict: Verdict, answer: Answer, policy: RegistryConfig
) -> Verdict:
    """Do what the answer says; the verdict that comes of it.

    A yes counts only against the champion that the gate compared with: who approved it saw those numbers.

    Args:
        context: the run.
        name: of the registered model.
        version: that waits.
        verdict: the gate's, waiting.
        answer: a person's.
        policy: goes into the trail with the gate's checks.
    """
    found = registry.find(name, version)
    evidence = {
        **registry.evidence_of(found),
        "policy": policy.model_dump(mode="json"),
        **verdict.model_dump(include={"checks", "difference"}),
    }
    record: dict[str, Any] = {"who": answer.who, "why": answer.why, "evidence": evidence, "against": verdict.champion}
    promoted, reason = answer.said == "yes", _reason(answer)
    if promoted:
        try:
            registry.promote(context.workspace, name, version, **record)
        except registry.ChampionMoved as error:
            promoted, reason = False, f"{reason}, but meanwhile {error}: compare again, then `freqd promote {version}`"
            registry.refuse(context.workspace, name, version, **{**record, "why": reason, "against": "any"})
    else:
        registry.refuse(context.workspace, name, version, **{**record, "against": "any"})
    settled = verdict.model_copy(
        update={
            "promoted": promoted,
            "verdict": PROMOTED if promoted else NOT_PROMOTED,
            "reasons": [reason, *verdict.reasons],
        }
    )
    for label, value in (("verdict", settled.verdict), ("reasons", "; ".join(settled.reasons))):
        tracking.client().set_model_version_tag(name, version, f"freqd.{label}", value[:TAG_LENGTH])
    return settled


def _reason(answer: Answer) -> str:
    said = {"yes": f"approved by {answer.who}: ", "no": f"refused by {answer.who}: ", "nothing": ""}
    return said[answer.said] + answer.why


def _ask(what: str, verdict: Verdict, hours: float) -> Answer | None:
    """Pause the flow run until somebody answers; None if nobody does in time."""
    deadline = time.monotonic() + 3600 * hours
    rows = [_line(check) for check in verdict.checks]
    question = "\n".join([f"**{what} may become champion.** {'; '.join(verdict.reasons)}", "", *rows])
    console.print(f"{'approval':<18}  {what} waits for a yes on the Prefect page: {_address()}", soft_wrap=True)
    give_back(flow_run_id())
    attempt, wrong = 0, ""
    while (left := deadline - time.monotonic()) > 0:
        attempt += 1
        form = ApprovalForm.with_initial_data(description=f"{wrong}{question}")
        try:
            found = pause_flow_run(form, timeout=math.ceil(left), poll_interval=POLL_SECONDS, key=f"approval-{attempt}")
        except FlowPauseTimeout:
            _go_on()
            return None
        except ValidationError:  # somebody set the state by hand, past the form
            wrong = "The run was resumed without an answer, so it asks again. "
            get_run_logger().warning(wrong.strip())
            continue
        return Answer(said=found.approve, who=readable(found.who.strip()), why=readable(found.why.strip()))
    return None


def _line(check: Check) -> str:
    value = "not known" if check.value is None else f"{check.value:,.4g}"
    required = "" if check.limit == "none" else f" (required {check.limit})"
    return f"- {check.name}: {value}{required}" + (f"; {check.detail}" if check.detail else "")


def _go_on() -> None:
    """Let the flow run go on after nobody answered: from an overdue pause the server lets a run only fail."""
    with get_client(sync_client=True) as client:
        state: State[Any] = Running(message="nobody answered in time, so nothing is promoted")
        client.set_flow_run_state(UUID(flow_run_id()), state, force=True)


def _address() -> str:
    """Where the page of this flow run is."""
    settings = get_current_settings()
    page = settings.ui_url or (settings.api.url or "").removesuffix("/api")
    return f"{page}/runs/flow-run/{flow_run_id()}"
