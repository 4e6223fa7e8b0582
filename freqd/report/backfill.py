"""A backfill for readers: one line a date."""

from __future__ import annotations

from freqd import numbers as fmt
from freqd.report.markdown import escape
from freqd.report.run_result_parts import ResultPart
from freqd.report.table import Table, for_terminal


class BackfilledRun(ResultPart):
    """The run as of one date.

    Attributes:
        passed_over: whether it had finished before.
        started_from: the run whose models it went on from; None if from scratch, and ``why``.
        seconds: of all stages when they were computed.
        model: name and version, if it was registered.
        gate: what the gate said, if it was asked.
    """

    as_of: str
    run: str
    passed_over: bool
    users: int
    items: int
    interactions: int
    ndcg_at_10: float
    teacher_ndcg_at_10: float
    started_from: str | None
    why: str
    seconds: float
    model: str | None
    gate: str | None
    mlflow_run_id: str


class BackfillResult(ResultPart):
    """The runs of all dates, earliest first."""

    name: str
    workdir: str
    runs: tuple[BackfilledRun, ...]


def table(result: BackfillResult) -> Table:
    """Every date with its run: data, quality, where it started, cost, and what the gate said if it was asked."""
    header = [
        "as of",
        "run",
        "users",
        "items",
        "interactions",
        "NDCG@10",
        "of the teacher",
        "from",
        "seconds",
        "gate",
        "",
    ]
    lines = [_cells(run) for run in result.runs]
    return Table(f"{result.name}, date by date", header, lines, frozenset({2, 3, 4, 5, 6, 8}))


def _cells(run: BackfilledRun) -> list[str]:
    return [
        run.as_of,
        run.run,
        *(fmt.count(count) for count in (run.users, run.items, run.interactions)),
        fmt.metric(run.ndcg_at_10),
        fmt.metric(run.teacher_ndcg_at_10),
        run.started_from or "nothing",
        fmt.duration(run.seconds),
        run.gate or fmt.MISSING,
        "already done" if run.passed_over else "",
    ]


def plain(result: BackfillResult, width: int | None = None) -> str:
    """The table for a terminal of this width, with why a run did not start from the one before it."""
    return for_terminal([table(result).text(width), *notes(result)])


def markdown(result: BackfillResult) -> str:
    """The table as GitHub-flavoured Markdown."""
    shown = table(result)
    notes_of = [escape(note) for note in notes(result)]
    return "\n\n".join([f"# {escape(shown.caption)}", shown.markdown(), *notes_of]) + "\n"


def notes(result: BackfillResult) -> list[str]:
    """What the columns mean, and why runs that were to start from another one did not."""
    said = [
        "NDCG@10 of the students on the test split of their own date: the last interactions up to it. Dates differ in their "
        "test splits, so a lower number need not be a worse model. Seconds are those of all stages when they were computed."
    ]
    alone = [run for run in result.runs if run.why and run.started_from is None]
    return [*said, *(f"As of {run.as_of} it started from scratch: {run.why}." for run in alone)]
