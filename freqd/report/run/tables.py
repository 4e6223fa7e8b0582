"""The report's tables: header and formatted cells, ready for any output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, rows, series, text, texts
from freqd.report.palette import ROLES, STUDENT
from freqd.report.run.sentences import metric_of
from freqd.report.run.settings import changed_settings


@dataclass(frozen=True)
class Table:
    """A caption, a header, and rows of text; the first column names the row.

    Attributes:
        numeric: indices of the columns that are set flush right.
        code: indices of the columns that are set in a fixed-width face.
        strong: index of the row that is set bold, if any.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    code: frozenset[int] = frozenset()
    strong: int | None = None
    keys: list[str] = field(default_factory=list)


METRICS: dict[str, str] = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "hit_rate": "Hit rate",
    "map": "MAP",
    "mrr": "MRR",
    "coverage": "Item coverage",
    "gini": "Gini of exposure (lower is more even)",
    "mean_popularity": "Mean popularity of what is shown",
    "novelty": "Novelty, bits",
}
SHARES = ("coverage",)
ENVIRONMENT = {
    "python": "Python", "cpu": "Processor", "cores": "Cores", "memory_bytes": "Memory", "system": "System",
    "packages": "Packages", "lock_digest": "Digest of installed packages", "git": "freqd's commit",
}  # fmt: skip


def metric_label(name: str) -> str:
    """``ndcg_at_10`` as NDCG@10."""
    base, _, cut = name.partition("_at_")
    label = METRICS.get(base, base.replace("_", " "))
    head, bracket, rest = label.partition(" (")
    return f"{head}@{cut}{bracket and ' (' + rest}" if cut else label


def models(summary: Summary) -> Table:
    """One row a model: size, quality, speed. The same in the terminal, Prefect and the HTML report."""
    header = [
        "Model",
        "Numbers per user/item",
        "Parameters",
        "Size",
        "NDCG@10",
        "Recall@10",
        "Coverage@10",
        "ms per user",
    ]
    body, keys = [], []
    for role in ROLES:
        model, metrics = dig(summary, "models", role.key), dig(summary, "metrics", role.key)
        if not model and not metrics:
            continue
        keys.append(role.key)
        median = number(model, "median_ms")
        body.append(
            [
                role.label,
                fmt.count(number(model, "dim")),
                fmt.count(number(model, "parameters")),
                fmt.size(number(model, "bytes")),
                fmt.metric(number(metrics, "ndcg_at_10")),
                fmt.metric(number(metrics, "recall_at_10")),
                fmt.percent(number(metrics, "coverage_at_10"), 1),
                fmt.MISSING if median is None else fmt.milliseconds(median).removesuffix(f"{fmt.NBSP}ms"),
            ]
        )
    strong = keys.index(STUDENT.key) if STUDENT.key in keys else None
    return Table("Models on the test part", header, body, frozenset(range(1, 8)), strong=strong, keys=keys)


def all_metrics(summary: Summary) -> Table:
    """Every metric of every model."""
    roles = [role for role in ROLES if isinstance(dig(summary, "metrics", role.key), Mapping)]
    names: dict[str, None] = {}
    for role in roles:
        names.update(dict.fromkeys(str(name) for name in dig(summary, "metrics", role.key)))
    order = list(METRICS)
    known = sorted(names, key=lambda n: (_rank(n, order), _cut(n), n))
    body = [
        [metric_label(name), *(_metric_cell(name, metric_of(summary, role, name)) for role in roles)] for name in known
    ]
    return Table(
        "All metrics on the test part", ["Metric", *(r.label for r in roles)], body, frozenset(range(1, len(roles) + 1))
    )


def _rank(name: str, order: list[str]) -> int:
    base = name.partition("_at_")[0]
    return order.index(base) if base in order else len(order)


def _cut(name: str) -> int:
    cut = name.partition("_at_")[2]
    return int(cut) if cut.isdecimal() else 0


def _metric_cell(name: str, value: float | None) -> str:
    if name.startswith(SHARES):
        return fmt.percent(value, 1)
    return fmt.metric(value) if value is None or abs(value) < 10 else f"{value:,.1f}"


def intervals(summary: Summary) -> Table:
    """The paired differences, student minus the others."""
    body = []
    for role in ROLES:
        known = dig(summary, "intervals", f"student_minus_{role.key}")
        if number(known, "mean") is not None:
            p_value = number(known, "p_value")
            body.append(
                [
                    f"Student minus {role.label}",
                    fmt.signed(number(known, "mean")),
                    f"{fmt.signed(number(known, 'low'))} to {fmt.signed(number(known, 'high'))}",
                    fmt.probability(p_value).removeprefix("p = ").removeprefix("p "),
                ]
            )
    header = ["Difference", "NDCG@10", "Interval", "p-value"]
    return Table("Paired differences over the test users", header, body, frozenset({1, 2, 3}))


def settings(summary: Summary) -> Table:
    """The settings that differ from the defaults."""
    body = [[s.name, s.value, s.default, s.description] for s in changed_settings(dig(summary, "config"))]
    header = ["Setting", "This run", "Default", "Meaning"]
    return Table("Settings that differ from the defaults", header, body, code=frozenset({0, 1, 2}))


def data_facts(summary: Summary) -> Table:
    """What the data are, one fact a row."""
    data = dig(summary, "data")
    parts = dig(data, "parts")
    users, items, kept = (number(data, key) for key in ("users", "items", "interactions"))
    facts = [
        ("Users", fmt.count(users)),
        ("Items", fmt.count(items)),
        ("Interactions kept", fmt.count(kept)),
        ("Density", fmt.percent(kept / (users * items), 3) if kept and users and items else ""),
        ("Split", _split(data)),
    ]
    for key, label in (("train", "Training"), ("valid", "Validation"), ("test", "Test")):
        rows_of = number(parts, key)
        if rows_of is not None:
            share = f" ({fmt.percent(rows_of / kept, 1)})" if kept else ""
            facts.append((f"{label} part", f"{fmt.count(rows_of)} interactions{share}"))
    columns = dig(data, "columns")
    if isinstance(columns, Mapping):
        named = ", ".join(f"{role}: {column}" for role, column in columns.items() if column)
        facts.append(("Columns used", named))
    body = [[label, value] for label, value in facts if value and value != fmt.MISSING]
    return Table("Data", ["Fact", "Value"], body)


def _split(data: object) -> str:
    kind = text(data, "split")
    valid_from, test_from = text(data, "cuts", "valid_from")[:10], text(data, "cuts", "test_from")[:10]
    said = {
        "time": "by time: the model learns from the past and is tested on what came after",
        "random": "at random: a share of every user's interactions is kept for the test",
        "given": "given by the data's own parts",
    }.get(kind, kind)
    if valid_from and test_from:
        said += f" (validation from {valid_from}, test from {test_from}, UTC)"
    return said


def dropped(summary: Summary) -> Table:
    """What cleaning dropped and what the user can do about it; reasons that hit no row are left out."""
    body = [
        [text(row, "reason"), fmt.count(number(row, "rows")), text(row, "remedy") or fmt.MISSING]
        for row in rows(summary, "data", "dropped")
        if number(row, "rows") != 0.0
    ]
    return Table("Rows that were dropped", ["Reason", "Rows", "What to do"], body, frozenset({1}))


def teacher_trials(summary: Summary) -> Table:
    """The teacher's search over sizes and strengths."""
    body = [
        [
            fmt.plain(number(trial, "factors")),
            fmt.plain(number(trial, "regularization")),
            fmt.plain(number(trial, "alpha")),
            fmt.metric(number(trial, "valid_ndcg_at_10")),
            fmt.duration(number(trial, "seconds")),
        ]
        for trial in rows(summary, "training", "teacher", "info", "trials")
    ]
    header = ["Numbers per user/item", "Regularisation", "Alpha", "NDCG@10, validation", "Time"]
    return Table(
        "Search for the best teacher", header, body, frozenset(range(5)), strong=_best([row[3] for row in body])
    )


def filter_trials(summary: Summary) -> Table:
    """The filters that were tried."""
    base = number(summary, "spectrum", "base_ndcg")
    body = []
    for trial in rows(summary, "spectrum", "trials"):
        value, weights = number(trial, "ndcg"), series(trial, "weights")
        gain = None if value is None or not base else value / base - 1.0
        body.append(
            [
                text(trial, "side"),
                "one weight a band" if weights else text(trial, "form"),
                " ".join(f"{weight:.2f}" for weight in weights) or fmt.plain(number(trial, "alpha")),
                text(trial, "other"),
                fmt.metric(value),
                fmt.percent(gain, 1),
            ]
        )
    header = ["Side", "Form", "α, or weights from low λ to high", "The other side's", "NDCG@10, validation", "Gain"]
    return Table("Filters that were tried", header, body, frozenset({2, 4, 5}), strong=_best([row[4] for row in body]))


def _best(cells: list[str]) -> int | None:
    known = [i for i, cell in enumerate(cells) if cell != fmt.MISSING]
    return max(known, key=lambda i: float(cells[i])) if known else None


def groups(summary: Summary, kind: str) -> Table:
    """Quality by group, one row a group and model."""
    fields = {
        "activity": (("users", "Users", fmt.count), ("ndcg_at_10", "NDCG@10", fmt.metric), ("recall_at_10", "Recall@10", fmt.metric)),
        "popularity": (
            ("targets", "Test targets", fmt.count), ("recall_at_10", "Recall@10", fmt.metric),
            ("share_of_recommendations", "Share of recommendations", fmt.percent),
        ),
    }[kind]  # fmt: skip
    body = [
        [text(row, "group"), role.label, *(show(number(row, key)) for key, _, show in fields)]
        for role in ROLES
        for row in rows(summary, "groups", role.key, kind)
    ]
    caption = "By the users' activity" if kind == "activity" else "By the items' popularity"
    return Table(caption, ["Group", "Model", *(label for _, label, _ in fields)], body, frozenset({2, 3, 4}))


def stages(summary: Summary) -> Table:
    """Time, memory and digest of each stage, with a total."""
    known = rows(summary, "stages")
    body = [
        [
            text(stage, "name"), fmt.duration(number(stage, "seconds")), fmt.size(number(stage, "peak_bytes")),
            "yes" if dig(stage, "cached") is True else "no", text(stage, "digest")[:16] or fmt.MISSING,
        ]
        for stage in known
    ]  # fmt: skip
    fresh = [number(stage, "seconds") or 0.0 for stage in known if dig(stage, "cached") is not True]
    peaks = [peak for stage in known if (peak := number(stage, "peak_bytes")) is not None]
    if body:
        body.append(["All, without cached", fmt.duration(sum(fresh)), fmt.size(max(peaks, default=None)), "", ""])
    header = ["Stage", "Time", "Peak memory", "Cached", "Result's digest"]
    return Table("Stages", header, body, frozenset({1, 2}), frozenset({4}), strong=len(body) - 1 if body else None)


def lineage(summary: Summary) -> Table:
    """Where this run can be found again, and what it was made with."""
    facts: list[tuple[str, Any]] = [
        ("Run", text(summary, "run")),
        ("Created", text(summary, "created")),
        ("Working folder", text(summary, "workdir")),
        ("Data digest", text(summary, "data", "digest")),
        ("MLflow run", text(summary, "mlflow", "run_id")),
        ("MLflow experiment", text(summary, "mlflow", "experiment") or text(summary, "mlflow", "experiment_id")),
        ("MLflow store", without_secret(text(summary, "mlflow", "tracking_uri"))),
        ("Prefect flow run", text(summary, "prefect", "flow_run_id")),
        ("Registered model", _model(summary)),
        ("freqd", text(summary, "freqd")),
    ]
    environment = dig(summary, "environment")
    if isinstance(environment, Mapping):
        for key, value in environment.items():
            if isinstance(value, Mapping):
                shown = ", ".join(f"{name} {entry}" for name, entry in value.items())
            else:
                shown = fmt.size(number(environment, key)) if key == "memory_bytes" else text(environment, key)
            facts.append((ENVIRONMENT.get(key, str(key)), shown))
    body = [[label, value] for label, value in facts if value and value != fmt.MISSING]
    return Table("Lineage", ["What", "Value"], body, code=frozenset({1}))


def _model(summary: Summary) -> str:
    name, version = text(summary, "model", "name"), text(summary, "model", "version")
    aliases = ", ".join(texts(summary, "model", "aliases"))
    return f"{name}{f' version {version}' if version else ''}{f' ({aliases})' if aliases else ''}"


def without_secret(address: str) -> str:
    """An address without the user and password that it may hold."""
    return re.sub(r"://[^/@\s]*@", "://…@", address)
