"""How a run's time budget is shared out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.config import BaselinesConfig, DistillConfig, RegistryConfig, RunConfig, TeacherConfig
from freqd.config.budget import REFIT_SHARE, TRAINING_SHARE, within_budget

NONE = BaselinesConfig(models=())
JUDGED = RegistryConfig(refit="none")


def seconds(config: RunConfig) -> float:
    limit = (config.teacher.search_seconds if config.teacher.kind == "als" else config.teacher.max_seconds) or 0.0
    small = (config.baselines.max_seconds or 0.0) if config.baselines.small else 0.0
    return limit + (config.distill.max_seconds or 0.0) + small


def test_without_a_budget_and_with_a_wide_one_nothing_changes() -> None:
    plain = RunConfig()
    assert within_budget(plain) == plain
    limits = {
        "teacher": TeacherConfig(kind="als", search_seconds=300),
        "distill": DistillConfig(max_seconds=300),
        "baselines": BaselinesConfig(max_seconds=300),
    }
    wide = RunConfig(registry=JUDGED, budget_minutes=60, **limits)
    assert within_budget(wide) == wide


def test_by_default_no_clock_bounds_a_training() -> None:
    plain = RunConfig()
    assert (plain.teacher.search_seconds, plain.teacher.max_seconds, plain.distill.max_seconds) == (None, None, None)


@pytest.mark.parametrize(("models", "each"), [(("als", "popular"), 120), (("popular",), 240), ("none", 240)])
def test_a_budget_bounds_what_has_no_limit_of_its_own(models: object, each: float) -> None:
    baselines = BaselinesConfig.model_validate({"models": models})
    found = within_budget(
        RunConfig(registry=JUDGED, budget_minutes=10, teacher=TeacherConfig(kind="als"), baselines=baselines)
    )
    assert found.teacher.search_seconds == pytest.approx(240)
    assert found.distill.max_seconds == pytest.approx(each)
    assert seconds(found) == pytest.approx(480)


def test_a_refit_has_time_left_to_it() -> None:
    judged, refitted = (
        within_budget(RunConfig(budget_minutes=10, registry=RegistryConfig(refit=refit))) for refit in ("none", "all")
    )
    assert seconds(refitted) == pytest.approx((1 - REFIT_SHARE) * seconds(judged))


def test_what_does_not_fit_is_shortened_by_one_factor() -> None:
    config = RunConfig(
        registry=JUDGED,
        teacher=TeacherConfig(kind="als", search_seconds=120),
        distill=DistillConfig(max_seconds=100),
        baselines=BaselinesConfig(max_seconds=100),
        budget_minutes=2,
    )
    found = within_budget(config)  # 96 s for what wants 120 + 100 + 100
    assert found.teacher.search_seconds == pytest.approx(36)
    assert found.distill.max_seconds == pytest.approx(30)
    assert (found.data, found.budget_minutes, found.teacher.max_seconds) == (config.data, 2, None)


def test_a_trained_teacher_without_a_limit_gets_half() -> None:
    config = RunConfig(
        registry=JUDGED,
        teacher=TeacherConfig(kind="bpr"),
        distill=DistillConfig(max_seconds=1000),
        baselines=NONE,
        budget_minutes=10,
    )
    found = within_budget(config)  # 480 s for 240 and 1000
    assert found.teacher.max_seconds == pytest.approx(480 * 240 / 1240, abs=1e-3)
    assert found.distill.max_seconds == pytest.approx(480 * 1000 / 1240, abs=1e-3)
    limited = config.model_copy(update={"teacher": TeacherConfig(kind="bpr", max_seconds=10)})
    small = limited.model_copy(update={"distill": DistillConfig(max_seconds=20)})
    assert within_budget(small).distill == small.distill


def test_a_brought_teacher_takes_no_time() -> None:
    config = RunConfig(
        registry=JUDGED,
        teacher=TeacherConfig(kind="features", features="x"),
        distill=DistillConfig(max_seconds=100),
        baselines=BaselinesConfig(max_seconds=100),
        budget_minutes=1,
    )
    found = within_budget(config)
    assert found.teacher == config.teacher
    assert found.distill.max_seconds == pytest.approx(24)


@given(
    minutes=st.floats(0.01, 1000),
    kind=st.sampled_from(["als", "auto", "bpr", "lightgcn"]),
    search=st.floats(0.1, 1e5),
    limit=st.none() | st.floats(0.1, 1e5),
    student=st.floats(0.1, 1e5),
    baselines=st.booleans(),
)
def test_the_trainings_never_have_more_than_their_share(
    minutes: float, kind: str, search: float, limit: float | None, student: float, baselines: bool
) -> None:
    teacher = TeacherConfig.model_validate({"kind": kind, "search_seconds": search, "max_seconds": limit})
    distill, small = DistillConfig(max_seconds=student), BaselinesConfig() if baselines else NONE
    config = RunConfig(registry=JUDGED, teacher=teacher, distill=distill, baselines=small, budget_minutes=minutes)
    found = within_budget(config)
    assert seconds(found) <= 60 * minutes * TRAINING_SHARE + 0.01
    assert found.distill.max_seconds <= student + 1e-3
    assert within_budget(config) == found, "the shares depend on the settings alone"
    RunConfig.model_validate(found.model_dump())
