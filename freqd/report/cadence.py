"""How fast a model ages and how often to retrain, for readers: words, tables, CSV and a figure."""

from __future__ import annotations

import csv as csv_format
import io

from freqd import numbers as fmt
from freqd.report.cadence_result import AgedModel, CadenceResult, Kind, RefitReplay
from freqd.report.canvas import FONT, SMALL, WIDTH, legend, new_figure, png, style_axes
from freqd.report.markdown import escape
from freqd.report.palette import INK, STUDENT, SVD, TEACHER
from freqd.report.run.captions import Caption
from freqd.report.run.sentences import Verdict
from freqd.report.table import Table, for_terminal

KINDS: dict[Kind, str] = {"full": "full run", "re-distilled": "re-distillation"}
TEACHER_FROM = {
    "": "nothing",
    "continued": "the one before",
    "continued after a search": "the one before, after a search",
    "searched": "a search, which beat the one before",
}
STUDENT_FROM = {"": "SVD of the teacher", "svd": "SVD of the teacher", "previous": "the one before"}
FIELDS = (
    "as_of", "kind", "first", "last", "age", "ndcg_at_10", "recall_at_10", "judged_users", "judged_known_users", "judged_pairs", "users", "items",
    "pairs", "unknown_users", "unknown_items", "unknown_user_pairs", "unknown_item_pairs", "seconds",
)  # fmt: skip
"""Columns of the CSV file."""


def verdict(result: CadenceResult) -> Verdict:
    """The recommendation in two breaths."""
    every, decayed = result.advice.every_days, result.advice.decayed_at
    way = {"full": "a full run", "re-distilled": "re-distillation"}[result.advice.kind]
    if every is None:
        return Verdict(
            "How fast it ages is not known",
            "No model knew a user of a later window, so there was nothing to evaluate.",
            "neutral",
        )
    if decayed is None:
        return Verdict(
            "No decay measurable",
            f"A model {fmt.count(every - result.period_days)} days old, the oldest that could be evaluated, loses nothing significant against a "
            f"fresh one. These data give no reason to retrain more often than every {fmt.count(every)} days, by {way}.",
            "good",
        )
    often = "at least " if decayed == 1 else ""
    return Verdict(
        f"Retrain {often}every {fmt.count(every)} days",
        f"At an age of {fmt.count(every)} days a model loses {fmt.metric(result.loss_at(decayed))} NDCG@10 against a fresh one, which is "
        f"significant; at younger ages it is not. Retrain by {way}."
        if decayed > 1
        else f"At {fmt.count(every)} days old, the youngest age that was evaluated, a model already loses {fmt.metric(result.loss_at(decayed))} NDCG@10 against "
        f"a fresh one, which is significant. Retrain by {way}.",
        "mixed",
    )


def advice(result: CadenceResult) -> list[str]:
    """The recommendation and what it rests on, in sentences."""
    said = verdict(result)
    lines = [f"{said.title}. {said.sentence}"]
    level = fmt.percent(result.confidence)
    undetected = result.advice.undetected
    if undetected is not None:
        lines.append(
            f"That is no proof that nothing decays: a loss of up to {fmt.metric(undetected)} NDCG@10 is within the {level} intervals."
        )
    lines += [_ways(result), _refitted(result)]
    lines += [
        f"As of {model.as_of} re-distillation started from scratch: {model.why}."
        for model in result.models
        if model.why
    ]
    youngest, oldest = result.ages[0], result.ages[-1]
    lines.append(
        f"To a model {oldest.days} days old {fmt.percent(oldest.unknown_users)} of a window's users and "
        f"{fmt.percent(oldest.unknown_items)} of its items are unknown; to a fresh one "
        f"{fmt.percent(youngest.unknown_users)} and {fmt.percent(youngest.unknown_items)}. What a fresh model does not "
        "know either is not part of any loss here."
    )
    return [line for line in lines if line]


def _ways(result: CadenceResult) -> str:
    """Full run against re-distillation."""
    again, full = result.seconds["re-distilled"], result.seconds["full"]
    if result.redistilled is None or again is None or full is None:
        return "Re-distillation could not be evaluated."
    loss = result.redistilled.loss
    found = (
        f"A full run takes {fmt.duration(full)}, re-distillation {fmt.duration(again)}; the full model is "
        f"{fmt.signed(loss.mean)} NDCG@10 ({fmt.signed(loss.low)} to {fmt.signed(loss.high)}) "
        "against the re-distilled one on the window right after"
    )
    end = {
        "": "so re-distillation will do",
        "worse": "so re-distillation loses significantly, and a full run is worth its time",
        "costlier": "so re-distillation saves nothing",
    }[result.advice.why]
    return f"{found}, {end}."


def tables(result: CadenceResult) -> list[Table]:
    """Loss by age; intervals of retraining with their costs; the models; refits, if there were any."""
    return [by_age(result), by_interval(result), models(result), *([refits(result.refit)] if result.refit else [])]


def refits(replay: RefitReplay) -> Table:
    """Refitted students on the next window, a row for what they are held against."""
    rows = [
        [
            name,
            str(found.windows),
            fmt.count(found.users),
            fmt.metric(found.fresh),
            fmt.metric(found.other),
            fmt.signed(found.loss.mean),
            f"{fmt.signed(found.loss.low)} to {fmt.signed(found.loss.high)}",
        ]
        for name, found in (("the judged student", replay.judged), ("ALS of its size, of all interactions", replay.als))
        if found is not None
    ]
    header = ["the refit against", "windows", "users", "NDCG@10, refit", "NDCG@10, the other", "gain", "interval"]
    return Table("Refit on all interactions, on the next window", header, rows, frozenset(range(1, len(header))))


def _refitted(result: CadenceResult) -> str:
    """What the refit gains, no more than the interval says; empty if there was none."""
    replay = result.refit
    if replay is None or replay.judged is None:
        return ""
    gain = replay.judged.loss
    stands = (
        "significantly better than"
        if gain.low > 0
        else "significantly worse than"
        if gain.high < 0
        else "not told apart from"
    )
    refused = f" {replay.refused} refits were refused." if replay.refused else ""
    return (
        f"On the next window the refit on all interactions is {stands} the judged student: {fmt.signed(gain.mean)} NDCG@10 "
        f"({fmt.signed(gain.low)} to {fmt.signed(gain.high)}); it takes {fmt.duration(replay.seconds)}.{refused}"
    )


def by_age(result: CadenceResult) -> Table:
    """One row an age."""
    lines = [
        [
            str(row.days),
            str(row.windows),
            fmt.count(row.users),
            fmt.metric(row.fresh),
            fmt.metric(row.aged),
            fmt.signed(row.loss.mean if row.loss else None),
            f"{fmt.signed(row.loss.low)} to {fmt.signed(row.loss.high)}" if row.loss else fmt.MISSING,
            fmt.percent(row.loss.mean / row.fresh if row.loss and row.fresh else None, 1),
            fmt.count(row.of_known.users if row.of_known else None),
            fmt.signed(row.of_known.loss.mean if row.of_known else None),
            fmt.percent(row.unknown_users, 1),
            fmt.percent(row.unknown_items, 1),
        ]
        for row in result.ages
    ]
    header = [
        "age in days", "windows", "users", "NDCG@10, fresh", "NDCG@10, aged", "loss", f"{fmt.percent(result.confidence)} interval",
        "loss, share", "users it knows", "their loss", "unknown users", "unknown items",
    ]  # fmt: skip
    return Table("Quality by age", header, lines, frozenset(range(len(header))))


def by_interval(result: CadenceResult) -> Table:
    """One row an interval between two retrainings; the recommended one is strong."""
    lines = [
        [str(row.every_days), fmt.signed(row.mean_loss), *(fmt.duration(row.seconds_a_year[kind]) for kind in KINDS)]
        for row in result.ages
    ]
    header = ["retrained every, days", "mean loss", *(f"a year of {way}s" for way in KINDS.values())]
    strong = next((i for i, row in enumerate(result.ages) if row.every_days == result.advice.every_days), None)
    return Table("What retraining that often costs", header, lines, frozenset(range(4)), strong=strong)


def models(result: CadenceResult) -> Table:
    """One row a model: data, start, cost, and its quality on the window right after."""
    header = ["as of", "made by", "users", "items", "teacher from", "student from", "seconds", "NDCG@10, next window", "users evaluated"]  # fmt: skip
    lines = [_model(result, model) for model in result.models]
    return Table("The models", header, lines, frozenset({2, 3, 6, 7, 8}))


def _model(result: CadenceResult, model: AgedModel) -> list[str]:
    key = (model.as_of, model.kind, 0)
    after = next((row for row in result.judged if (row.as_of, row.kind, row.age) == key), None)
    teacher, student = model.teacher_start or "", model.student_start or ""
    return [
        model.as_of,
        KINDS[model.kind],
        fmt.count(model.users),
        fmt.count(model.items),
        TEACHER_FROM.get(teacher, teacher),
        STUDENT_FROM.get(student, student),
        fmt.duration(model.seconds["all"]),
        fmt.metric(after.ndcg_at_10 if after else None),
        fmt.count(after.judged_users if after else None),
    ]


def facts(result: CadenceResult) -> str:
    """Data and windows in a sentence."""
    data = result.data
    counts = (
        f"{fmt.count(data.users)} users, {fmt.count(data.items)} items, {fmt.count(data.interactions)} interactions"
    )
    return (
        f"{data.name}: {counts}, {data.first} to {data.last}; "
        f"{len(result.windows)} windows of {fmt.count(result.period_days)} days from {result.windows[0].first} on."
    )


def notes(result: CadenceResult) -> list[str]:
    """What the numbers mean."""
    level = fmt.percent(result.confidence)
    return [
        "A model is made as of the day before a window, exactly as a run as of that day makes it, and evaluated on that window and all "
        "later ones as it would be served then: a full ranking without what a user had when the window began, the most popular items for a user "
        "it does not know, never an item it does not know. Fresh is the full model made right before the same window. The mean is over the "
        "users that the fresh model knows and that met something new it could know; the columns after that are of those among them whom the "
        "aged model knows too: what is lost there is lost because tastes and items moved on, the rest because it does not know its users.",
        f"The rule is the gate's: a model has decayed at an age at which a fresh one would be promoted in its place, that is, where the "
        f"lower end of the {level} interval of the loss is above registry.margin ({fmt.plain(result.margin)}). The recommended interval is the "
        "first such age. Ages are tested one by one, without a correction for their number.",
        "Every user counts once, by the mean over the windows; the interval is a bootstrap over users. An age is seen in as many windows as "
        "the table says, and different ages in different windows, so compare aged with fresh rather than ages with each other.",
        "Unknown users and items are counted among all that occur in the window; those with too few interactions to be in a run are unknown to it.",
        "Seconds are those of data, graphs, teacher, spectrum and distillation on this machine when they were computed, without evaluation "
        "and baselines. Re-distillations follow one another, each from the one before.",
    ]


def plain(result: CadenceResult, width: int | None = None) -> str:
    """Tables for a terminal of this width, with the recommendation below."""
    parts = [
        facts(result),
        *(f"{table.caption}\n\n{table.text(width)}" for table in tables(result)),
        *advice(result),
    ]
    return for_terminal(parts)


def markdown(result: CadenceResult, *, images: bool = True) -> str:
    """Everything as GitHub-flavoured Markdown, with the figure beside the file if ``images``."""
    parts = [f"# {escape(result.name)}", *(escape(line) for line in advice(result))]
    parts.append(escape(facts(result)))
    if images:
        parts.append("![Quality against age, and costs](cadence.png)")
    for table in tables(result):
        parts += [f"## {escape(table.caption)}", table.markdown()]
    return "\n\n".join([*parts, "## How to read it", *(escape(note) for note in notes(result))]) + "\n"


def csv(result: CadenceResult) -> str:
    """One line a model and window in full precision, with what the model took."""
    spent = {(model.as_of, model.kind): model.seconds["all"] for model in result.models}
    out = io.StringIO()
    writer = csv_format.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in result.judged:
        writer.writerow({**row.model_dump(), "seconds": spent[row.as_of, row.kind]})
    return out.getvalue()


def caption(result: CadenceResult) -> Caption:
    """The line below the figure, and its numbers for who cannot see it."""
    told = ", ".join(
        f"{row.days} days: {fmt.metric(row.aged)} against {fmt.metric(row.fresh)}" for row in result.ages if row.loss
    )
    costs = ", ".join(f"{way} {fmt.duration(result.seconds[kind])}" for kind, way in KINDS.items())
    level = fmt.percent(result.confidence)
    return Caption(
        f"Left: whiskers are the {level} interval of the loss; where one ends below the fresh model, the loss is significant. "
        "Middle: share of a window's interactions with users and items that a model of that age does not know.",
        f"NDCG@10 of aged against fresh models, {told or 'none'}. Cost of a retraining: {costs}.",
    )


def figure(result: CadenceResult) -> bytes:
    """Quality against age, what is unknown by age, and the cost of both ways, as PNG bytes."""
    drawn = new_figure(3.1, width=1.9 * WIDTH)
    drawn.subplots_adjust(left=0.075, right=0.985, top=0.88, bottom=0.17, wspace=0.32)
    quality, unknown, costs = drawn.subplots(1, 3, width_ratios=(1.25, 1.0, 0.8))
    known = [(row.days, row.fresh, row.aged, row.loss) for row in result.ages if row.loss and row.fresh is not None]
    days, fresh, aged = ([row[place] for row in known] for place in range(3))
    quality.plot(days, fresh, TEACHER.marker, color=TEACHER.colour, linestyle=(0, (4, 2)), markersize=5, label="fresh")
    quality.plot(days, aged, STUDENT.marker, color=STUDENT.colour, linestyle="-", markersize=6, label="aged")
    for day, best, _, loss in known:
        quality.plot(
            [day, day],
            [best - loss.low, best - loss.high],
            color=STUDENT.colour,
            linewidth=2.2,
            alpha=0.45,
            solid_capstyle="round",
        )
    style_axes(quality, title="Quality against age", x="Age in days", y="NDCG@10")
    legend(quality, loc="best")

    for role, label, shares in (
        (TEACHER, "users", [row.unknown_user_pairs for row in result.ages]),
        (SVD, "items", [row.unknown_item_pairs for row in result.ages]),
    ):
        unknown.plot(
            [row.days for row in result.ages],
            [float("nan") if share is None else 100 * share for share in shares],
            marker=role.marker, color=role.colour, linewidth=1.6, markersize=5, label=label,
        )  # fmt: skip
    unknown.set_ylim(bottom=0.0)
    unknown.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    style_axes(unknown, title="Interactions of unknown", x="Age in days")
    legend(unknown, loc="best")

    spent = [result.seconds[kind] for kind in KINDS]
    top = max((value for value in spent if value is not None), default=1.0) or 1.0
    for place, (value, role) in enumerate(zip(spent, (TEACHER, STUDENT), strict=True)):
        costs.bar(place, value or 0.0, width=0.6, color=role.colour, zorder=2)
        costs.text(
            place, (value or 0.0) + 0.02 * top, fmt.duration(value), ha="center", va="bottom", fontsize=SMALL, color=INK
        )
    costs.set_ylim(0.0, 1.15 * top)
    costs.set_xlim(-0.6, 1.6)
    style_axes(costs, title="A retraining takes", y="Seconds")
    costs.set_xticks(range(len(KINDS)), list(KINDS.values()))
    costs.tick_params(axis="x", labelsize=FONT, labelcolor=INK)
    return png(drawn)
