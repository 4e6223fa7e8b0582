"""The model card: what a model is for, what it was made of, how good it is and for whom it is worse, as Markdown.

The sections follow Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Iterator

from freqd import numbers as fmt
from freqd.report.markdown import escape
from freqd.report.run import groups, refit_sentences, sentences, tables
from freqd.report.run.cautions import cautions, spread
from freqd.report.run.gate_view import gate_checks
from freqd.report.run.settings import reproduce_command, setting_of
from freqd.report.run_result import RunResult

USES = (
    "Ranking the items of this catalogue for the users of these data, and for new users by what they have met, as "
    "candidates or as a final list."
)
NOT_FOR = (
    "Decisions about people, prices or risk, other catalogues, and users whose behaviour differs from "
    "that of the data (check with `freqd drift`)."
)


def card(summary: RunResult) -> str:
    """The card as GitHub-flavoured Markdown; text from outside is escaped."""
    return "\n\n".join(_parts(summary)) + "\n"


def _parts(summary: RunResult) -> Iterator[str]:
    found, model, student = sentences.verdict(summary), summary.model, summary.models.student
    which = f"{model.name} version {model.version}" if model else f"student of run {summary.run}"
    yield f"# Model card: {escape(which)}"
    yield f"{escape(f'{found.title}. {found.sentence}')}"
    yield "## The model"
    kind = setting_of(summary.config, "teacher.kind")
    yield _list(
        [
            f"A recommender of users' and items' features: {fmt.count(student.dim)} numbers each, {fmt.count(student.parameters)} in all, "
            f"{fmt.size(student.bytes)}. A score is the product of a user's and an item's features.",
            f"Distilled from a teacher ({kind}) of {fmt.count(summary.models.teacher.parameters)} numbers.",
            f"Made by freqd {summary.freqd}, run {summary.run}, {summary.created[:10]}, seed {setting_of(summary.config, 'seed')}.",
            refit_sentences.sentence(summary),
        ]
    )
    yield "## What it is for"
    yield f"{USES}\n\nNot for: {NOT_FOR}"
    yield "## The data"
    yield _list([f"{row[0]}: {row[1]}" for row in tables.data_facts(summary).rows])
    yield (
        "The features hold what users did in a form from which some of it can be inferred; the ids of users and items are part of "
        "the registered model. Treat it as personal data."
    )
    yield "## How good it is"
    yield tables.models(summary).markdown()
    beside = tables.references(summary)
    if beside.rows:
        yield f"**{escape(beside.caption)}**"
        yield beside.markdown()
    yield _list(sentences.differences(summary))
    yield "## For whom it may be worse"
    worse = groups.sentences(summary)
    yield _list([*worse, spread(summary)]) if worse or spread(summary) else "Not measured in this run."
    yield tables.by_activity(summary).markdown()
    yield tables.by_popularity(summary).markdown()
    yield "## Limits"
    yield _list([*cautions(summary), *LIMITS])
    checks = gate_checks(summary)
    if checks.rows:
        yield "## The gate"
        yield escape(sentences.gate_sentence(summary))
        yield checks.markdown()
    yield "## Make it again"
    yield f"```\n{reproduce_command(summary.config, summary.workdir)}\n```"


LIMITS = (
    "Quality is measured on the past: what users did under the recommendations of then. It does not say what they would have done with "
    "other ones; a test with a share of the traffic does (`freqd serve --challenger`, `freqd online`).",
    "It ages: users and items that are new since then are known by their first interactions only, or not at all (`freqd cadence`).",
)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines if line)
