"""The time budget of a run, shared out to the trainings before the first one starts.

The shares depend on the settings alone and not on the clock, so a run that is repeated, or killed and resumed, gets the
same ones and finds its results in the cache; and as every stage's budget is part of its key, a run with a larger
budget does not take a result that a smaller one has cut off.
"""

from __future__ import annotations

from typing import TypeVar

from freqd.config import BaselinesConfig, DistillConfig, RunConfig, TeacherConfig

Training = TypeVar("Training", DistillConfig, BaselinesConfig)

TRAINING_SHARE = 0.8
"""Of the budget; data, graphs, spectrum, evaluation, registration and report have the rest."""
REFIT_SHARE = 0.3
"""Of the trainings' time, for the refit of teacher and student on all interactions, which no clock stops."""
TEACHER_SHARE = 0.5
"""Of the trainings' time, for a teacher that has no limit of its own."""


def within_budget(config: RunConfig) -> RunConfig:
    """The settings with the trainings' time budgets shortened so that their sum fits ``budget_minutes``.

    Limits that fit already stay as they are; else all are shortened by the same factor. A teacher without a limit gets half
    of the trainings' time, distillation and baselines the rest in equal parts; external embeddings and lists need none. Without
    ``budget_minutes`` nothing changes.
    """
    if config.budget_minutes is None:
        return config
    available = 60.0 * config.budget_minutes * TRAINING_SHARE * (1.0 - (REFIT_SHARE if config.refits else 0.0))
    teacher, distill, baselines = config.teacher, config.distill, config.baselines
    students = (distill, baselines) if baselines.small else (distill,)
    share = (1 - TEACHER_SHARE) * available / len(students)
    wanted = _teacher_seconds(teacher, available) + sum(student.max_seconds or share for student in students)
    factor = min(1.0, available / wanted)

    def shortened(part: Training) -> Training:
        return part.model_copy(update={"max_seconds": _shortened(part.max_seconds or share, factor)})

    return config.model_copy(
        update={
            "teacher": _shortened_teacher(teacher, factor, available),
            "distill": shortened(distill),
            "baselines": shortened(baselines),
        }
    )


def _teacher_seconds(config: TeacherConfig, available: float) -> float:
    if config.is_external:
        return 0.0
    if config.kind == "als":
        return config.search_seconds or TEACHER_SHARE * available
    return config.max_seconds or TEACHER_SHARE * available


def _shortened_teacher(config: TeacherConfig, factor: float, available: float) -> TeacherConfig:
    if config.is_external:
        return config
    seconds = _shortened(_teacher_seconds(config, available), factor)
    return config.model_copy(update={"search_seconds" if config.kind == "als" else "max_seconds": seconds})


def _shortened(seconds: float, factor: float) -> float:
    """To the millisecond, and never nothing: even then a training gives its start."""
    return max(0.001, round(factor * seconds, 3))
