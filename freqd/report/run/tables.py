"""The report's tables: header and formatted cells, ready for any output."""

from __future__ import annotations

import re

from freqd import numbers as fmt
from freqd.evaluate.significance import Difference
from freqd.report.palette import ROLES, STUDENT
from freqd.report.run.savings import spread_ms
from freqd.report.run.settings import changed_settings
from freqd.report.run.standing import REFERENCES
from freqd.report.run_result import RunResult
from freqd.report.run_result_data import DataFacts
from freqd.report.run_result_parts import RegisteredModel, Training
from freqd.report.table import Table

METRICS: dict[str, str] = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "hit_rate": "Hit rate",
    "map": "MAP",
    "mrr": "MRR",
    "tail_recall": "Recall of the tail",
    "coverage": "Item coverage",
    "gini": "Gini of exposure (lower is more even)",
    "mean_popularity": "Mean popularity of what is shown",
    "top_share": "Share of the 1 % most popular items",
    "novelty": "Novelty, bits",
    "diversity_between_lists": "Diversity between users' lists",
    "diversity_within_lists": "Diversity within a list",
}
SHARES = ("coverage", "top_share")
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


def models(summary: RunResult) -> Table:
    """One row a model: size, quality, speed. The same in the terminal, Prefect and the HTML report."""
    header = [
        "Model",
        "Dimension",
        "Parameters",
        "Size",
        "NDCG@10",
        "Recall@10",
        "Coverage@10",
        "ms per user",
    ]
    body, keys = [], []
    for role in ROLES:
        model, metrics = summary.models.of(role.key), summary.metrics.of(role.key)
        if model is None or metrics is None:
            continue
        keys.append(role.key)
        body.append(
            [
                role.label,
                fmt.count(model.dim),
                fmt.count(model.parameters),
                fmt.size(model.bytes),
                fmt.metric(metrics.get("ndcg_at_10")),
                fmt.metric(metrics.get("recall_at_10")),
                fmt.percent(metrics.get("coverage_at_10"), 1),
                spread_ms(model).replace(f"{fmt.NBSP}ms", "").replace(" to ", "–"),
            ]
        )
    strong = keys.index(STUDENT.key)
    numeric = frozenset(range(1, 8))
    return Table("Models on the test split", header, body, numeric, strong=strong, keys=list(keys), optional=(2, 6))


def references(summary: RunResult) -> Table:
    """Models beside those of the run, the best first; no rows if there are none."""
    found = summary.references
    header = ["Model", "Parameters", "NDCG@10", "Recall@10"]
    caption = "Other models on the same test"
    if found.run is not None:
        caption = f"Other models as run {found.run} judged them on {(found.created or '')[:10]}, on the data of then"
    else:
        header.append("Student minus it")
    body = []
    for model in sorted(found.models, key=lambda model: -model.metrics["ndcg_at_10"]):
        row = [
            REFERENCES.get(model.name, model.name),
            fmt.count(model.parameters),
            fmt.metric(model.metrics["ndcg_at_10"]),
            fmt.metric(model.metrics.get("recall_at_10")),
        ]
        if found.run is None:
            row.append("" if (gain := model.student_minus) is None else _interval(gain))
        body.append(row)
    return Table(caption, header, body, frozenset(range(1, len(header))), optional=(1,))


def _interval(found: Difference) -> str:
    return f"{fmt.signed(found.mean)} ({fmt.signed(found.low)} to {fmt.signed(found.high)})"


def all_metrics(summary: RunResult) -> Table:
    """Every metric of every model."""
    measured = {role: found for role in ROLES if (found := summary.metrics.of(role.key)) is not None}
    order = list(METRICS)
    names = sorted({name for found in measured.values() for name in found}, key=lambda n: (_rank(n, order), _cut(n), n))
    body = [
        [metric_label(name), *(_metric_cell(name, found.get(name)) for found in measured.values())] for name in names
    ]
    header = ["Metric", *(role.label for role in measured)]
    return Table("All metrics on the test split", header, body, frozenset(range(1, len(header))))


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


def intervals(summary: RunResult) -> Table:
    """The paired differences, student minus the others."""
    body = [
        [
            f"Student minus {role.label}",
            fmt.signed(found.mean),
            f"{fmt.signed(found.low)} to {fmt.signed(found.high)}",
            fmt.probability(found.p_value).removeprefix("p = ").removeprefix("p "),
        ]
        for role in ROLES
        if (found := summary.intervals.get(f"student_minus_{role.key}"))
    ]
    header = ["Difference", "NDCG@10", "Interval", "p-value"]
    return Table("Paired differences over the test users", header, body, frozenset({1, 2, 3}))


def settings(summary: RunResult) -> Table:
    """The settings that differ from the defaults."""
    body = [[s.name, s.value, s.default, s.description] for s in changed_settings(summary.config)]
    header = ["Setting", "This run", "Default", "Meaning"]
    return Table("Settings that differ from the defaults", header, body, code=frozenset({0, 1, 2}))


def data_facts(summary: RunResult) -> Table:
    """What the data are, one fact a row."""
    data = summary.data
    kept, sizes = data.interactions, data.parts
    body = [
        ["Users", fmt.count(data.users)],
        ["Items", fmt.count(data.items)],
        ["Interactions kept", fmt.count(kept)],
        ["Density", fmt.percent(kept / (data.users * data.items), 3)],
        ["Split", _split(data)],
    ]
    for label, size in (("Training", sizes.train), ("Validation", sizes.valid), ("Test", sizes.test)):
        body.append([f"{label} split", f"{fmt.count(size)} interactions ({fmt.percent(size / kept, 1)})"])
    if named := ", ".join(f"{role}: {column}" for role, column in data.columns.items() if column):
        body.append(["Columns used", named])
    return Table("Data", ["Fact", "Value"], body)


def _split(data: DataFacts) -> str:
    said = {
        "time": "by time: the model learns from the past and is tested on what came after",
        "random": "at random: a share of every user's interactions is kept for the test",
        "given": "given by the data",
    }[data.split]
    if data.cuts is None:
        return said
    return f"{said} (validation from {data.cuts.valid_from[:10]}, test from {data.cuts.test_from[:10]}, UTC)"


def dropped(summary: RunResult) -> Table:
    """What cleaning dropped and what the user can do about it; reasons that hit no row are left out."""
    body = [[row.reason, fmt.count(row.rows), row.remedy or fmt.MISSING] for row in summary.data.dropped if row.rows]
    return Table("Rows that were dropped", ["Reason", "Rows", "What to do"], body, frozenset({1}))


def teacher_trials(summary: RunResult) -> Table:
    """The teacher's search over sizes and strengths."""
    return _trials(summary.training.teacher, "Search for the best teacher")


def baseline_trials(summary: RunResult) -> Table:
    """The trainings of models of the student's size without a teacher."""
    return _trials(summary.training.scratch, "Models of the student's size without a teacher")


def _trials(training: Training | None, caption: str) -> Table:
    trials = training.info.trials if training is not None else ()
    kind = training.info.kind if training is not None else None
    body = [
        [
            trial.kind or kind or "",
            fmt.plain(trial.factors),
            fmt.plain(trial.weight_decay if trial.regularization is None else trial.regularization),
            fmt.plain(trial.alpha),
            fmt.plain(trial.learning_rate),
            fmt.metric(trial.valid_ndcg_at_10),
            fmt.duration(trial.seconds),
        ]
        for trial in trials
    ]
    header = ["Model", "Dimension", "L2", "Alpha", "Step size", "NDCG@10, validation", "Time"]
    return Table(caption, header, body, frozenset(range(1, 7)), strong=_best([row[5] for row in body]))


def filter_trials(summary: RunResult) -> Table:
    """The filters that were tried."""
    found = summary.spectrum
    base = found.base_ndcg if found.whole_ndcg is None else found.whole_ndcg
    body = [
        [
            trial.side,
            "per-band weights" if trial.weights else trial.form,
            " ".join(f"{weight:.2f}" for weight in trial.weights) or fmt.plain(trial.alpha),
            trial.other,
            fmt.metric(trial.ndcg),
            fmt.percent(trial.ndcg / base - 1.0 if base else None, 1),
        ]
        for trial in found.trials
    ]
    header = ["Side", "Form", "α, or weights from low λ to high", "The other side's", "NDCG@10, validation", "Gain"]
    return Table("Filters that were tried", header, body, frozenset({2, 4, 5}), strong=_best([row[4] for row in body]))


def _best(cells: list[str]) -> int | None:
    known = [i for i, cell in enumerate(cells) if cell != fmt.MISSING]
    return max(known, key=lambda i: float(cells[i])) if known else None


def by_activity(summary: RunResult) -> Table:
    """Quality by the users' activity, one row a group and model."""
    body = [
        [row.group, role.label, fmt.count(row.users), fmt.metric(row.ndcg_at_10), fmt.metric(row.recall_at_10)]
        for role in ROLES
        if (found := summary.groups.of(role.key))
        for row in found.activity
    ]
    header = ["Group", "Model", "Users", "NDCG@10", "Recall@10"]
    return Table("By the users' activity", header, body, frozenset({2, 3, 4}))


def by_popularity(summary: RunResult) -> Table:
    """Quality by the items' popularity, one row a group and model."""
    body = [
        [
            row.group,
            role.label,
            fmt.count(row.targets),
            fmt.metric(row.recall_at_10),
            fmt.percent(row.share_of_recommendations),
        ]
        for role in ROLES
        if (found := summary.groups.of(role.key))
        for row in found.popularity
    ]
    header = ["Group", "Model", "Test targets", "Recall@10", "Share of recommendations"]
    return Table("By the items' popularity", header, body, frozenset({2, 3, 4}))


def stages(summary: RunResult) -> Table:
    """Time, memory and digest of each stage, with a total."""
    body = [
        [
            stage.name,
            fmt.duration(stage.seconds),
            fmt.size(stage.peak_bytes),
            "yes" if stage.cached else "no",
            stage.digest[:16],
        ]
        for stage in summary.stages
    ]
    fresh = sum(stage.seconds for stage in summary.stages if not stage.cached)
    peak = max(stage.peak_bytes for stage in summary.stages)
    body.append(["All, without cached", fmt.duration(fresh), fmt.size(peak), "", ""])
    header = ["Stage", "Time", "Peak memory", "Cached", "Result's digest"]
    return Table("Stages", header, body, frozenset({1, 2}), frozenset({4}), strong=len(body) - 1)


def lineage(summary: RunResult) -> Table:
    """Where this run can be found again, and what it was made with."""
    facts = [
        ("Run", summary.run),
        ("Created", summary.created),
        ("Working folder", summary.workdir),
        ("Data digest", summary.data.digest),
        ("MLflow run", summary.mlflow.run_id),
        ("MLflow experiment", summary.mlflow.experiment_id),
        ("MLflow page", summary.mlflow.address),
        ("MLflow store", without_secret(summary.mlflow.tracking_uri)),
        ("Prefect flow run", summary.prefect.flow_run_id),
        ("Prefect page", summary.prefect.address),
        ("Registered model", _model(summary.model) if summary.model else ""),
        ("freqd", summary.freqd),
    ]
    for key, value in summary.environment:
        shown = fmt.size(value) if key == "memory_bytes" else str(value)
        if isinstance(value, dict):
            shown = ", ".join(f"{name} {entry}" for name, entry in value.items())
        facts.append((ENVIRONMENT[key], shown))
    return Table("Lineage", ["What", "Value"], [[label, value] for label, value in facts if value], code=frozenset({1}))


def _model(model: RegisteredModel) -> str:
    aliases = ", ".join(model.aliases)
    return f"{model.name} version {model.version}{f' ({aliases})' if aliases else ''}"


def without_secret(address: str) -> str:
    """An address without the user and password that it may hold."""
    return re.sub(r"://[^/@\s]*@", "://…@", address)
