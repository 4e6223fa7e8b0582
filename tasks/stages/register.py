"""Stage 7: the student in the model registry, behind a gate."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from pydantic import BaseModel, ConfigDict

import freqd
from freqd import numbers as fmt
from freqd.config import EvaluateConfig, RegistryConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.gate import Candidate, Check, Verdict
from freqd.json_types import JsonObject
from freqd.provenance import versions
from freqd.report.markdown import escape
from freqd.serve.recommender import Recommender
from freqd.storage.files import folder_digest
from freqd.storage.store import ArtifactRef, Facts, Store
from tasks.mlops import pyfunc_model, registry, tracking
from tasks.mlops.versions import explain
from tasks.refit_report import open_report
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Only, Without
from tasks.stages.evaluate import METRIC, EvaluationFacts
from tasks.stages.gate import Case, Question, ask_gate, quality_of, rivals_of

KEY = "freqd.register_key"
"""Tag of a version: the key of the stage that registered it, so that a killed one goes on with its own version."""
EXAMPLE_USER = "somebody"
"""In the model's input example, which everybody sees on the MLflow page: no user's own id."""
CANDIDATES = {"student": "student", "baseline": "scratch"}
"""Which judged model is meant by each value of ``registry.candidate``."""
PINNED = ("mlflow", "numba", "numpy", "polars", "scipy")
NEEDED = ("filelock", "isal", "llvmlite", "pandas", "pydantic", "safetensors", "threadpoolctl")
"""What a registered model needs where it is loaded, in the versions that made it, and in any."""
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "user")]),
    outputs=Schema([ColSpec(kind, name) for name, kind in Recommender.columns.items()]),
    params=ParamSchema([ParamSpec("k", "long", 20), ParamSpec("exclude_seen", "boolean", True)]),
)


class NewVersion(BaseModel):
    """Which registered model the student becomes a version of, and how it came to be, as tags; what it is, its digest says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    tags: dict[str, str]


class RegisterInputs(BaseModel):
    """What is registered: the judged student with its data, its report on the test part, and what the differences are worth.

    With ``refit_student`` that one is deployed in its place; with ``refit_report`` alone it was refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: ArtifactRef
    student: ArtifactRef
    report: ArtifactRef
    facts: ArtifactRef
    refit_student: ArtifactRef | None = None
    refit_split: ArtifactRef | None = None
    refit_report: ArtifactRef | None = None

    def deployed(self, at: Stage) -> Recommender:
        """What is served: the refit, else the judged student."""
        student, split = self.refit_student or self.student, self.refit_split or self.split
        return Recommender.of(at.open(student, TrainedModel).features, at.open(split, Split))

    def tags(self, store: Store) -> dict[str, str]:
        """What a version says of its refit; its numbers are those of the judged student."""
        if self.refit_report is None:
            return {"freqd.refit": "none"}
        found = open_report(store, self.refit_report)
        checks = "; ".join(f"{check.name} {fmt.plain(check.value)} ({check.limit})" for check in found.checks)
        told = {"freqd.refit": "all" if found.accepted else "refused", "freqd.refit_checks": checks}
        if self.refit_student is None or self.refit_split is None:
            return told | {"freqd.refit_reasons": "; ".join(found.reasons)}
        return told | {registry.REFIT: self.refit_student.digest, "freqd.refit_data_digest": self.refit_split.digest}


class Registration(BaseModel):
    """What the stage leaves: model, version, and what the gate said."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    gate: Verdict

    @classmethod
    def open(cls, store: Store, ref: ArtifactRef) -> Self:
        """Read it."""
        return cls.model_validate(store.open(ref, Facts).values)


class Registered(StageOutcome):
    """The version of the model, and what the gate said."""

    @property
    def registration(self) -> ArtifactRef:
        """Name, version and verdict."""
        return self.refs["registration"]


def _is_there(run: RunContext, refs: Mapping[str, ArtifactRef]) -> bool:
    """Whether the registry still has the version."""
    entry = Registration.open(run.workspace.store, refs["registration"])
    try:
        tracking.client().get_model_version(entry.name, entry.version)
    except MlflowException:
        return False
    return True


@stage("register", Registered, uses=["seed"], confirm=_is_there)
def register(
    at: Stage,
    inputs: RegisterInputs,
    new: Annotated[NewVersion, Only("model")],
    config: Annotated[RegistryConfig, Without("approval_hours", "refit")],
    evaluation: EvaluateConfig,
) -> Result:
    """Register the student, or its refit, as challenger; make it the champion if the gate says so. Not better is no failure.

    The gate looks at the judged student: the refit has seen the test part.
    """
    parts, candidate = at.open(inputs.split, Split), CANDIDATES[config.candidate]
    features = at.open(inputs.student, TrainedModel).features
    own = at.open(inputs.report, Evaluation)
    known, measured = EvaluationFacts.open(at.store, inputs.facts)
    at.progress(0.1, "writing the model")
    deployed = inputs.deployed(at)
    tags = {
        **new.tags,
        **_numbers(own, known, deployed.features.n_bytes),
        **inputs.tags(at.store),
        "freqd.candidate": config.candidate,
        KEY: at.key,
    }
    version = _earlier(new.model, at.key) or _log_version(at.run, deployed, own, new.model, tags)
    at.progress(0.7, "asking the gate")
    challenger = Candidate(
        version=str(version.version),
        n_bytes=deployed.features.n_bytes,
        latency_ms=measured.latency[candidate].median_ms,
        judged_users=_judged_users(parts),
        gap_closed=known.gap_closed.value if candidate == "student" else None,
        rivals=rivals_of(known) if candidate == "student" else (),
        **quality_of(own),
    )
    tracking.client().set_registered_model_alias(new.model, registry.CHALLENGER, version.version)
    case = Case(new.model, challenger, features, parts, own, config, evaluation)
    verdict = ask_gate(
        at.run,
        Question(
            new.model,
            challenger.version,
            lambda present: case.decide(at.run, present),
            {**registry.evidence_of(version), "policy": config.model_dump(mode="json")},
            ask=config.approval == "ask",
        ),
    )
    explain(new.model, str(version.version), verdict.verdict, verdict.reasons)
    headline = f"{new.model} version {version.version}: {verdict.verdict}, {'; '.join(verdict.reasons)}"
    gate = Shown(key="gate", content=[_shown(check) for check in verdict.checks], description=headline)
    result = Registration(name=new.model, version=str(version.version), gate=verdict)
    promoted = {"promoted": int(verdict.promoted)}
    return Result({"registration": Facts.of(result)}, headline, promoted, shown=[gate])


def _earlier(model_name: str, key: str) -> ModelVersion | None:
    """The version that this very stage has registered already, before it was killed."""
    found = tracking.client().search_model_versions(f"name = '{registry.quoted(model_name)}' and tag.`{KEY}` = '{key}'")
    return max(found, key=lambda version: int(version.version), default=None)


def _judged_users(parts: Split) -> int:
    """Test users of train who have a test item of train: those whose ranking says something of a model."""
    users, items = (np.zeros(n, np.bool_) for n in (parts.n_users, parts.n_items))
    users[parts.train.user] = True
    items[parts.train.item] = True
    judged = users[parts.test.user] & items[parts.test.item]
    return len(np.unique(parts.test.user[judged]))


def _shown(check: Check) -> JsonObject:
    """A row of the page's table; a limit is no quotation in markdown."""
    texts = {"value": fmt.plain(check.value), "limit": escape(fmt.limit(check.limit)), "detail": escape(check.detail)}
    return {**check.model_dump(), **texts}


def _numbers(own: Evaluation, known: EvaluationFacts, n_bytes: int) -> dict[str, str]:
    closed = known.gap_closed.value
    return {
        "freqd.ndcg_at_10": f"{own.metrics[METRIC]:.6f}",
        "freqd.recall_at_10": f"{own.metrics['recall_at_10']:.6f}",
        "freqd.gap_closed": "none" if closed is None else f"{closed:.4f}",
        "freqd.bytes": str(n_bytes),
    }


def _by_group(report: Evaluation) -> dict[str, float]:
    """NDCG@10 of the groups of users by activity, for MLflow and `freqd models compare`; 1 is the least active."""
    return {f"{METRIC}_activity_{n}": group[METRIC] for n, group in enumerate(report.groups["activity"], start=1)}


def _log_version(
    context: RunContext, recommender: Recommender, own: Evaluation, model_name: str, tags: dict[str, str]
) -> ModelVersion:
    """Log the recommender as a model of the parent run and register it; the new version."""
    example = pd.DataFrame({"user": [EXAMPLE_USER]})
    package = Path(freqd.__file__).parent
    pins = versions()
    with (
        tempfile.TemporaryDirectory() as folder,
        mlflow.start_run(run_id=context.mlflow_run_id, log_system_metrics=False),
    ):
        recommender.write(Path(folder))
        tags = {**tags, registry.DIGEST: folder_digest(Path(folder))}
        info = mlflow.pyfunc.log_model(
            name="student",
            python_model=pyfunc_model.__file__,
            artifacts={"bundle": folder},
            code_paths=[str(package)],
            signature=SIGNATURE,
            input_example=example,
            pip_requirements=[f"{p}=={pins[p]}" for p in PINNED] + list(NEEDED),
            params={"dim": recommender.features.dim, "bytes": recommender.features.n_bytes},
            tags={k: v for k, v in tags.items() if v},
        )
        metrics = {**own.metrics, **_by_group(own)}
        mlflow.log_metrics({f"student_{k}": v for k, v in metrics.items()}, model_id=info.model_id)
        with contextlib.redirect_stderr(io.StringIO()):  # MLflow says what the run says itself
            version = mlflow.register_model(info.model_uri, model_name, tags={k: v for k, v in tags.items() if v})
    tracking.client().update_run(context.mlflow_run_id, status="RUNNING")
    return version
