"""Parts of a run's result that describe its time budget and the run that it started from."""

from __future__ import annotations

from collections.abc import Iterator

from freqd.report.run_result_parts import OpenResultPart, ResultPart


class Budget(ResultPart):
    """The run's time budget, what its stages have taken of it, and which trainings were stopped by theirs."""

    minutes: float | None = None
    stage_seconds: float = 0.0
    cut: tuple[str, ...] = ()


class TeacherStart(OpenResultPart):
    """How the earlier teacher went on; ``way`` is ``continued``, ``searched`` or ``continued after a search``."""

    way: str
    valid_ndcg_at_10: float
    valid_ndcg_at_10_before: float
    sweeps: int


class StudentStart(OpenResultPart):
    """Which start the student had, ``previous`` or that of the settings; validation NDCG@10 of each that was measured."""

    way: str
    valid_ndcg_at_10: dict[str, float]


class TrainingSeconds(ResultPart):
    """Seconds of the two trainings."""

    teacher: float
    distill: float

    @property
    def both(self) -> float:
        """Their sum."""
        return self.teacher + self.distill


class StartSeconds(ResultPart):
    """Of this run, the earlier one, and the latest one from scratch; None where that is no longer known."""

    now: TrainingSeconds
    before: TrainingSeconds | None
    full: TrainingSeconds | None

    def items(self) -> Iterator[tuple[str, TrainingSeconds]]:
        """Those that are known, by name."""
        return ((name, spent) for name, spent in self if spent is not None)


class StartRecord(ResultPart):
    """Where the trainings started: in run ``run``, or, where that is None, from scratch, since ``why``."""

    asked: str
    run: str | None
    version: str | None
    why: str
    teacher: TeacherStart | None
    student: StudentStart | None
    seconds: StartSeconds
