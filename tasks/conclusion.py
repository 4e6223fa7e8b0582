"""How a run ends on the pages of Prefect and MLflow: its verdict as the run's state, one artifact, and tags to find it by."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas import State
from prefect.states import Completed

from freqd import numbers as fmt
from freqd.gate import PROMOTED, WAITING, Verdict
from freqd.json_types import JsonObject
from freqd.report.markdown import escape
from freqd.report.run import sentences, text
from freqd.report.run_result import RunResult
from tasks import events
from tasks.mlops import tracking
from tasks.runtime import page

REPORT = "report.html"
"""The report among a run's files, here and in MLflow."""


def conclude(result: RunResult) -> State[JsonObject]:
    """Put the result onto the page of the flow run that calls; the state in which the run ends."""
    found = sentences.verdict(result)
    said = result.gate.verdict if result.gate else "not registered"
    page.tag(f"verdict: {said}")
    if result.gate is not None and result.model is not None:
        tell_verdict(result.model.name, result.model.version, result.gate, result.prefect.address)
    create_markdown_artifact(f"{text.markdown(result)}\n{_links(result)}\n", key="result", description=found.title)
    return Completed(message=f"{found.title}. {sentences.gate_sentence(result)}", data=result.as_json())


def tell_verdict(model: str, version: str, gate: Verdict, address: str) -> None:
    """Tell who wants to know what became of a version; the server that lives as long as the run has nobody to tell."""
    if events.server_listens():
        event = {PROMOTED: events.PROMOTED, WAITING: events.WAITS}.get(gate.verdict, events.REFUSED)
        payload = {"model": model, "version": version, "reasons": "; ".join(gate.reasons), "address": address}
        events.tell(event, events.VERDICTS, model, payload)


UNDECIDED = {"decision": "not yet", "decision.reason": "the run has not come to its end"}
"""Tags of a run that begins: MLflow shows those first that were there first."""


def mlflow_tags(result: RunResult) -> dict[str, str]:
    """What the MLflow page shows of a run, verdict and reason first, and its headline numbers in words for its table."""
    found, closed, gate = sentences.verdict(result), result.gap_closed, result.gate
    links = " · ".join(f"[{label}]({address})" for label, address in addresses(result) if label != "MLflow run")
    return {
        "decision": gate.verdict if gate else "not registered",
        "decision.reason": "; ".join(gate.reasons) if gate else "the run was not to register anything",
        "freqd.ndcg_at_10": sentences.own_quality(result),
        "freqd.gap_closed": "" if closed.value is None else sentences.share_of_gap(closed),
        "freqd.size": fmt.size(result.models.student.bytes).replace(fmt.NBSP, " "),
        "freqd.model": f"{result.model.name} {result.model.version}" if result.model else "",
        "mlflow.note.content": "\n\n".join(filter(None, (links, escape(f"{found.title}. {found.sentence}")))),
    }


def addresses(result: RunResult) -> list[tuple[str, str]]:
    """Pages that a browser can open, by their labels; none where the run had no servers."""
    known = [("Prefect run", result.prefect.address), ("MLflow run", result.mlflow.address)]
    if result.mlflow.address:
        known.append(("report in MLflow", f"{result.mlflow.address}/artifacts/{REPORT}"))
    return [(label, address) for label, address in known if address]


def _links(result: RunResult) -> str:
    """Where else the result is, as Markdown."""
    pages = [f"[{label}]({address})" for label, address in addresses(result) if label != "Prefect run"]
    file = escape(f"{result.workdir}/runs/{result.run}/{REPORT}")
    return "## Where it is\n\n" + "\n".join(f"- {line}" for line in [*pages, f"report on the worker's disk: {file}"])


TABLE = (
    "attributes.`Created`",
    "tags.`decision`",
    "tags.`freqd.ndcg_at_10`",
    "tags.`freqd.gap_closed`",
    "tags.`freqd.size`",
    "tags.`freqd.model`",
)
"""Columns of the table of runs that freqd offers in MLflow, see ``tracking.offer_table``."""


def offer_table(experiment_id: str) -> None:
    """Let MLflow's table of runs show what decides about a model."""
    tracking.offer_table(experiment_id, TABLE)
