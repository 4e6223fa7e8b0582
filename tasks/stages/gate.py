"""The student before the gate: judged against the present champion, and what the verdict says is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger

from freqd.config import EvaluateConfig, RegistryConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows, without_leaked_targets
from freqd.embeddings import Embeddings
from freqd.errors import DamagedArtifactError, InputError
from freqd.evaluate import Evaluation
from freqd.evaluate import evaluate as judge_ranking
from freqd.evaluate.strata import Group
from freqd.gate import NOT_PROMOTED, WAITING, Candidate, ChampionComparison, SameSizeBaseline, Verdict, judge
from freqd.storage.store import Store
from tasks.mlops import registry
from tasks.mlops.audit import Decision
from tasks.run_context import RunContext
from tasks.stages.evaluate import METRIC, EvaluationFacts

DECISIONS = 5
"""Attempts to judge against a champion that does not change meanwhile."""


@dataclass(frozen=True)
class Question:
    """What the gate is asked.

    Attributes:
        model, version: whether that one becomes champion.
        decide: judges it against the present champion.
        evidence: what the registry says of the version, and the policy.
        ask: whether a yes only waits for a person's: see ``tasks.stages.approval``.
    """

    model: str
    version: str
    decide: Callable[[ModelVersion | None], Verdict]
    evidence: Mapping[str, object]
    ask: bool = False


def ask_gate(context: RunContext, question: Question) -> Verdict:
    """Judge against the present champion and do what the verdict says; judge again if another took its place."""
    model, version = question.model, question.version
    for _ in range(DECISIONS):
        present = registry.champion_of(model)
        verdict = question.decide(present)
        if verdict.promoted and question.ask:
            return verdict.model_copy(update={"promoted": False, "verdict": WAITING})
        decision = Decision(
            who=f"{registry.GATE}{context.run_name}",
            why="; ".join(verdict.reasons),
            evidence={**question.evidence, **verdict.model_dump(include={"checks", "difference"})},
            against=None if present is None else str(present.version),
        )
        carry_out = registry.promote if verdict.promoted else registry.refuse
        try:
            carry_out(context.workspace, model, version, decision)
        except registry.ChampionMovedError:
            continue
        return verdict
    raise registry.ChampionMovedError(
        f"the champion of {model} changed {DECISIONS} times while version {version} was judged"
    )


class Quality(TypedDict):
    """Those arguments of a ``Candidate`` that its report tells."""

    ndcg: float
    coverage: float
    popularity: float
    groups: tuple[Group, ...]


def quality_of(report: Evaluation) -> Quality:
    """What the gate compares, of a model on the test part."""
    return {
        "ndcg": report.metrics[METRIC],
        "coverage": report.metrics["coverage_at_10"],
        "popularity": report.metrics["mean_popularity_at_10"],
        "groups": tuple(report.groups["activity"]),
    }


def rivals_of(known: EvaluationFacts) -> tuple[SameSizeBaseline, ...]:
    """The models of the student's size that were judged beside it."""
    names = {"scratch": "the no-distillation baseline", "svd": "the SVD of the teacher"}
    found = {name: known.intervals.get(f"student_minus_{name}") for name in names}
    return tuple(
        SameSizeBaseline(name=names[name], mean=difference.mean, low=difference.low, high=difference.high)
        for name, difference in found.items()
        if difference is not None
    )


@dataclass(frozen=True, eq=False)
class Case:
    """The student before the gate.

    Attributes:
        model: of which it is a version.
        challenger: what the gate needs to know of it.
        student: its features.
        parts: its data.
        own: its report on the test part.
        policy: margin and guardrails.
        evaluation: how a ranking is judged.
    """

    model: str
    challenger: Candidate
    student: Embeddings
    parts: Split
    own: Evaluation
    policy: RegistryConfig
    evaluation: EvaluateConfig

    def decide(self, context: RunContext, present: ModelVersion | None) -> Verdict:
        """Judge it against the present champion, on the users that both know.

        Raises:
            InputError: the champion cannot answer, or knows none of the test users.
        """
        rng = np.random.default_rng(context.seed)
        if present is None:
            return judge(self.challenger, None, self.policy, self.evaluation, rng)
        try:
            recommender = registry.judged_twin(context.workspace.store, present)
        except DamagedArtifactError as error:
            return _not_comparable(str(present.version), error)
        fair = _fair(context.workspace.store, present, self.parts)
        same = Rows.of(recommender.user_ids, self.parts.user_ids).known
        own, challenger = self.own, self.challenger
        if not same[own.users].any():
            raise InputError(
                f"version {present.version}, the champion of {self.model}, knows none of the test users",
                "give the data a model of their own by registry.model_name",
            )
        if fair is not self.parts or not same[own.users].all():
            own = judge_ranking(self.student, fair, self.evaluation, among=same)
            challenger = challenger.model_copy(update=dict(quality_of(own)))
        placed = recommender.placed(self.parts.user_ids, self.parts.item_ids)
        theirs = judge_ranking(placed, fair, self.evaluation, among=same)
        champion = Candidate(
            version=str(present.version),
            n_bytes=recommender.features.n_bytes,
            latency_ms=challenger.latency_ms,
            **quality_of(theirs),
        )
        match = ChampionComparison(champion, own.per_user[METRIC], theirs.per_user[METRIC])
        return judge(challenger, match, self.policy, self.evaluation, rng)


def _not_comparable(champion: str, error: DamagedArtifactError) -> Verdict:
    """The champion is a refit, which has seen what the challenger is judged on, and its judged twin is gone."""
    reason = (
        f"champion version {champion} was trained on all of its interactions, and the student that was judged in its place is "
        f"gone from the store ({error}), so nothing can be said without what the champion has seen; compare both by other "
        "means, and promote this one by hand if it is better"
    )
    get_run_logger().warning(reason)
    return Verdict(
        promoted=False, verdict=NOT_PROMOTED, reasons=[reason], checks=[], champion=champion, difference=None
    )


def _fair(store: Store, champion: ModelVersion, parts: Split) -> Split:
    """The split without test pairs that the champion was trained on, as far as its data are still in the store."""
    try:
        return without_leaked_targets(registry.split_of(store, champion), parts)
    except DamagedArtifactError:
        get_run_logger().warning("the champion's data are gone: its test pairs cannot be told from those it has seen")
        return parts
