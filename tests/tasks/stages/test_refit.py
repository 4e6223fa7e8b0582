"""The stage by itself: what it leaves, what the registration makes of it, and the gate that looks at judged twins."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from freqd.config import DistillConfig, EvaluateConfig, GraphConfig, RegistryConfig, SpectralConfig, TeacherConfig
from freqd.data import everything
from freqd.data.interactions import Interactions, Split
from freqd.distill import DistillSources, distill
from freqd.embeddings import TrainedModel
from freqd.errors import LeakError
from freqd.evaluate import Validation, evaluate
from freqd.gate import Candidate
from freqd.graph import build_graphs
from freqd.refit import checks
from freqd.serve.recommender import Recommender
from freqd.spectral import FeatureEvaluator, analyse
from freqd.storage.store import ArtifactRef
from freqd.teachers.previous_model import incompatibility
from freqd.teachers.training import train_teacher
from freqd.training.environment import TrainingEnvironment
from tasks.earlier_run import EarlierModel
from tasks.mlops import registry
from tasks.run_context import RunContext
from tasks.runtime.progress import StageProgress
from tasks.runtime.workspace import Workspace
from tasks.stage import Result, Stage
from tasks.stages.gate import Case, quality_of
from tasks.stages.refit import RefitInputs, refit
from tasks.stages.register import RegisterInputs
from tests.evaluate.conftest import assemble
from tests.oracles import grocery_like

GRAPH = GraphConfig(user_neighbours=3, item_neighbours=3)
TEACHER = TeacherConfig(kind="als", factors=(8,), regularization=(1.0,), alpha=(10.0,), iterations=6)
STUDENT = DistillConfig(dim=6, epochs=8, eval_every=2, learning_rate=0.02, batch_size=256)


class Made:
    """A judged student with all that it came from, in the store."""

    def __init__(self, workspace: Workspace) -> None:
        whole = grocery_like(0, mean=16.0)
        part = np.random.default_rng(1).choice(3, len(whole), p=[0.7, 0.15, 0.15])
        parts = [
            Interactions(whole.user[part == n], whole.item[part == n], whole.n_users, whole.n_items) for n in range(3)
        ]
        split = assemble(*parts)
        self.split = replace(split, latecomers=pl.DataFrame({"user": ["new"] * 5, "item": split.item_ids[:5]}))
        context = RunContext(
            workdir=str(workspace.root), run_name="mine", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=1
        )  # fmt: skip
        self.at = Stage(context, workspace.root / "scratch", StageProgress("refit"), "key")
        here = TrainingEnvironment(0, "cpu", workspace.root / "teacher")
        self.teacher = train_teacher(split, TEACHER, here)
        graphs = build_graphs(split.train, GRAPH)
        measure = FeatureEvaluator.of(Validation.of(split, limit=None, seed=0), self.teacher)
        settings = SpectralConfig(bands=2, band_weights=False)
        spectrum = analyse(graphs, self.teacher.features, measure, settings, rng=np.random.default_rng(0))
        self.student = distill(
            DistillSources(split, self.teacher, graphs, spectrum), STUDENT, replace(here, checkpoint=None)
        )
        save = self.at.store.save
        self.refs = RefitInputs(
            split=save(self.split), teacher=save(self.teacher), spectrum=save(spectrum), student=save(self.student)
        )

    def refit(self, **changes: Any) -> Result:
        """What the stage computes."""
        given = {"graph": GRAPH, "teacher": TEACHER, "distill": STUDENT, **changes}
        return refit._body(self.at, self.refs, **given)

    def registered(self, result: Result) -> RegisterInputs:
        """What the registration gets of it."""
        refs: dict[str, ArtifactRef] = {
            f"refit_{name}": self.at.store.save(made) for name, made in result.artifacts.items()
        }
        judged = self.refs
        return RegisterInputs(
            split=judged.split, student=judged.student, report=judged.split, facts=judged.split, **refs
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(Workspace(tmp_path_factory.mktemp("work")))


@pytest.fixture(scope="module")
def accepted(made: Made) -> Result:
    return made.refit()


def test_the_refit_is_deployed_and_its_twin_is_named(made: Made, accepted: Result) -> None:
    assert set(accepted.artifacts) == {"student", "split", "report"}, accepted.headline
    given = made.registered(accepted)
    served = given.deployed(made.at)
    assert served.user_ids.to_list() == [*made.split.user_ids, "new"]
    assert served.seen.nnz == len(everything(made.split).train)
    assert served.features.users[-1].any()
    tags = given.tags(made.at.store)
    assert tags["freqd.refit"] == "all"
    assert given.refit_student is not None
    assert tags[registry.REFIT] == given.refit_student.digest != made.refs.student.digest
    assert "overlap of the top 10 with the judged twin" in tags["freqd.refit_checks"]


def test_out_of_bounds_the_judged_student_is_deployed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MIN_OVERLAP", 2.0)
    result = made.refit()
    assert set(result.artifacts) == {"report"}
    assert result.headline.startswith("refused, the judged student is registered: overlap")
    assert any(line.startswith("warning: refused") for line in result.lines)
    given = made.registered(result)
    np.testing.assert_array_equal(given.deployed(made.at).features.users, made.student.features.users)
    tags = given.tags(made.at.store)
    assert tags["freqd.refit"] == "refused"
    assert "overlap" in tags["freqd.refit_reasons"]
    assert registry.REFIT not in tags


def test_what_cannot_be_trained_again_is_refused(made: Made) -> None:
    way = STUDENT.model_copy(update={"objectives": (STUDENT.objectives[0].model_copy(update={"name": "hetcomp"}),)})
    result = made.refit(distill=way)
    assert set(result.artifacts) == {"report"}
    assert "'hetcomp' learns from rankings of the teacher's training" in result.headline


def test_no_training_starts_from_a_refit_that_is_planted(made: Made, accepted: Result) -> None:
    """As model alone, and with its data, which hold all that a later run is judged by."""
    planted = made.registered(accepted)
    assert planted.refit_student is not None
    earlier = EarlierModel(run="planted", model=planted.refit_student, split=made.refs.split)
    with pytest.raises(LeakError, match="start from its judged twin"):
        earlier.seen_from(made.split, made.at.store)
    twin = EarlierModel(run="mine", model=made.refs.student, split=made.refs.split)
    assert twin.seen_from(made.split, made.at.store).model.info["best_epoch"] >= 0
    assert "has seen" in incompatibility(everything(made.split), made.split)
    with pytest.raises(LeakError):
        made.refit(earlier=earlier)


# -- the gate -------------------------------------------------------------------------------------------------------


def decide(made: Made, tags: dict[str, str]) -> Any:
    """The judged student as challenger, against a champion with these tags."""
    evaluation = EvaluateConfig(bootstrap_samples=100)
    own = evaluate(made.student.features, made.split, evaluation)
    challenger = Candidate(version="2", n_bytes=8, latency_ms=1.0, **quality_of(own))
    case = Case("m", challenger, made.student.features, made.split, own, RegistryConfig(min_group_users=1), evaluation)
    present: Any = SimpleNamespace(name="m", version="1", tags=tags)
    return case.decide(made.at.run, present)


def test_the_gate_looks_at_the_champions_twin(made: Made, accepted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very same student: no difference. Its refit, which has seen the test part, would be far ahead: a planted leak."""
    given = made.registered(accepted)
    assert given.refit_student is not None
    served = given.deployed(made.at)
    monkeypatch.setattr(registry, "load_champion", lambda *_: served)
    tags = {"freqd.data_digest": made.refs.split.digest, "freqd.student_digest": made.refs.student.digest}
    twin = decide(made, tags | {registry.REFIT: given.refit_student.digest})
    assert twin.difference.mean == 0.0
    monkeypatch.setattr("tasks.stages.gate._fair", lambda store, present, parts: parts)
    leaking = decide(made, tags)
    assert leaking.difference.mean < -0.02


def test_without_the_twin_nothing_is_promoted(made: Made, accepted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.stages.gate.get_run_logger", lambda: logging.getLogger("test"))
    given = made.registered(accepted)
    assert given.refit_student is not None
    monkeypatch.setattr(registry, "load_champion", lambda *_: given.deployed(made.at))
    lost = {"freqd.data_digest": made.refs.split.digest, "freqd.student_digest": "0" * 64}
    verdict = decide(made, lost | {registry.REFIT: given.refit_student.digest})
    assert not verdict.promoted
    assert verdict.champion == "1"
    assert "gone from the store" in verdict.reasons[0]
    assert "promote this one by hand" in verdict.reasons[0]


def test_a_version_without_a_refit_is_compared_as_it_is_served(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Recommender.of(made.student.features, made.split)
    monkeypatch.setattr(registry, "load_champion", lambda *_: served)
    assert decide(made, {"freqd.data_digest": made.refs.split.digest}).difference.mean == 0.0


def test_a_kept_model_says_that_it_is_a_refit(made: Made, accepted: Result) -> None:
    planted = made.registered(accepted).refit_student
    assert planted is not None
    assert made.at.open(planted, TrainedModel).info["refit"]
    assert made.at.open(made.refs.split, Split).latecomers.height == 5
