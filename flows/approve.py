"""A question to a person as a flow run of its own: may a version become champion?"""

from __future__ import annotations

from uuid import UUID

from prefect import flow, runtime
from pydantic import AwareDatetime

from tasks.runtime.workspace import Workspace
from tasks.stages.approval import FLOW, answer_of_a_person, answer_of_nobody, pending, settle, tell


def _shown_name() -> str:
    given = runtime.flow_run.parameters
    what = f"{given.get('model')} version {given.get('version')}"
    return f"may {what} become champion" if given.get("question") is None else f"close the question of {what}"


@flow(name=FLOW, flow_run_name=_shown_name, validate_parameters=True)
def approve(
    model: str, version: str, until: AwareDatetime, workdir: str | None = None, question: UUID | None = None
) -> str | None:
    """Ask whether a version that waits may become champion, and do what the answer says; or close a question.

    Args:
        model: name of the registered model.
        version: the version.
        until: when the time for an answer is over.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        question: the flow run that asked: this one writes down that nobody answered. None to ask.

    Returns:
        The verdict; None if nothing was left to decide.
    """
    workspace = Workspace.locate(workdir)
    waiting = pending(workspace, model, version)
    if waiting is None:
        return None
    answer = waiting.answer
    if answer is None:
        answer = answer_of_a_person(waiting, until) if question is None else answer_of_nobody(waiting, question, until)
    settled = None if answer is None else settle(workspace, model, version, answer)
    if settled is None:
        return None
    tell(model, version, settled)
    return settled.verdict
