"""The models that a run's result shows beside its own: those that it judged, or those of the last run that did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from freqd.config import RunConfig
from freqd.data.sources import name_of
from freqd.errors import InputError
from freqd.evaluate import Evaluation
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import ReferenceResult, References
from freqd.storage.store import ArtifactRef
from tasks.mlops.model_source import WHERE
from tasks.runtime.workspace import Workspace
from tasks.stages.evaluate import EvaluationFacts
from tasks.stages.references import ReferenceFacts


def judged_references(
    workspace: Workspace, config: RunConfig, refs: Mapping[str, ArtifactRef], facts: EvaluationFacts
) -> References:
    """Those of the run with these artifacts; of a run without any, those of the last run on data of the same name.

    Args:
        workspace: holds the results of earlier runs.
        config: the run's settings.
        refs: its artifacts, by stage and name.
        facts: what its evaluation found.
    """
    if not config.baselines.models:
        return _of_last_run(workspace, name_of(config.data))
    store, found = workspace.store, list[ReferenceResult]()
    if config.baselines.references:
        for reference, size in ReferenceFacts.open(store, refs["references.facts"]).sizes.items():
            report = store.open(refs[f"references.{reference}"], Evaluation)
            found.append(_row(reference, report, facts, same_size=False, **dict(size)))
    for name, model in facts.models.items():
        if name not in WHERE and not (name == "filtered_svd" and refs["filtered_svd.svd"] == refs["svd.svd"]):
            known = {"parameters": model.parameters, "valid_ndcg_at_10": model.valid_ndcg_at_10}
            found.append(_row(name, store.open(refs[f"evaluate.{name}"], Evaluation), facts, same_size=True, **known))
    return References(models=tuple(found))


def _row(name: str, report: Evaluation, facts: EvaluationFacts, **known: float | None) -> ReferenceResult:
    return ReferenceResult.model_validate(
        {"name": name, "metrics": report.metrics, "student_minus": facts.intervals[f"student_minus_{name}"], **known}
    )


def _of_last_run(workspace: Workspace, data: str) -> References:
    for result in _latest_first(workspace):
        if result.data.name == data and (result.references.models or result.models.scratch):
            if result.references.run is not None:
                return result.references
            models = (*_own(result), *result.references.models)
            kept = tuple(model.model_copy(update={"student_minus": None}) for model in models)
            return References(models=kept, run=result.run, created=result.created)
    return References()


def _own(result: RunResult) -> Iterator[ReferenceResult]:
    """The small models that every run of then had."""
    for name in ("scratch", "svd"):
        model, metrics = getattr(result.models, name), getattr(result.metrics, name)
        if model is not None:
            yield ReferenceResult(
                name=name,
                same_size=True,
                parameters=model.parameters,
                valid_ndcg_at_10=model.valid_ndcg_at_10,
                metrics=metrics,
            )


def _latest_first(workspace: Workspace) -> Iterator[RunResult]:
    """Results of earlier runs; those that cannot be read are passed over."""
    found = sorted(workspace.runs.glob("*/summary.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        try:
            yield RunResult.load(path)
        except InputError:
            continue
