"""The report of a run as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from freqd import numbers as fmt
from freqd.report import cadence
from freqd.report.cadence_result import CadenceResult
from freqd.report.palette import ROLES
from freqd.report.run import groups, refit_sentences, sentences, spectrum_sentences, start_sentences, tables
from freqd.report.run.captions import Caption, captions
from freqd.report.run.cautions import cautions, spread
from freqd.report.run.figures import all_figures
from freqd.report.run.gate_view import gate_checks, gate_view
from freqd.report.run.samples import samples_view
from freqd.report.run.settings import reproduce_command
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import Side
from freqd.report.samples import Samples
from freqd.report.table import Table

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


def render(summary: RunResult, figures: Mapping[str, bytes] | None = None, samples: Samples | None = None) -> str:
    """The report as HTML text.

    Args:
        summary: the run's result.
        figures: PNG bytes by name if they are drawn already (see ``all_figures``), else they are drawn here.
        samples: users to show; only for the copy that stays with the owner of the data.
    """
    drawn = all_figures(summary) if figures is None else figures
    return template().render(
        context(summary, drawn), samples=samples_view(samples) if samples and samples.users else None
    )


def context(summary: RunResult, figures: Mapping[str, bytes]) -> dict[str, object]:
    """What the template shows, all numbers formatted."""
    said = captions(summary)
    return {
        "title": f"freqd: {summary.data.name}",
        "run": summary.run,
        "created": summary.created[:16].replace("T", " "),
        "version": summary.freqd,
        "data_name": summary.data.name,
        "verdict": sentences.verdict(summary),
        "tiles": sentences.tiles(summary),
        "advice": sentences.advice(summary),
        "gap": sentences.gap_sentence(summary),
        "differences": sentences.differences(summary),
        "protocol": _protocol(summary),
        "roles": {role.key: role for role in ROLES},
        "models": tables.models(summary),
        "references": tables.references(summary),
        "intervals": tables.intervals(summary),
        "all_metrics": tables.all_metrics(summary),
        "settings": tables.settings(summary),
        "data": tables.data_facts(summary),
        "dropped": tables.dropped(summary),
        "cautions": cautions(summary),
        "gate_checks": gate_checks(summary),
        "spread": spread(summary),
        "spectrum_reason": summary.spectrum.reason,
        "filters": spectrum_sentences.filter_rows(summary),
        "sides": [_side(summary, side) for side in spectrum_sentences.SIDES],
        "filter_trials": tables.filter_trials(summary),
        "teacher_trials": tables.teacher_trials(summary),
        "baseline_trials": tables.baseline_trials(summary),
        "groups": [tables.by_activity(summary), tables.by_popularity(summary), *groups.tables(summary)],
        "group_sentences": groups.sentences(summary),
        "start": start_sentences.sentence(summary),
        "refit": refit_sentences.sentence(summary),
        "refit_checks": refit_sentences.checks(summary),
        "stages": tables.stages(summary),
        "gate": gate_view(summary),
        "lineage": tables.lineage(summary),
        "command": reproduce_command(summary.config, summary.workdir),
        "figures": {name: _figure(png, said[name]) for name, png in figures.items() if name in said},
    }


def _protocol(summary: RunResult) -> str:
    said = {
        "standard": "every item a user does not have yet is ranked (full ranking); averages are over the users with a test item",
        "kd-paper": "full ranking with only the training items masked; averages are over all users, those without a test item count "
        "zero (the protocol of the published tables)",
    }[summary.protocol]
    tested, counted = summary.data.parts.test, summary.evaluated
    start = (
        f"Measured on {fmt.count(tested)} interactions that no training saw" if tested else "Measured on the test split"
    )
    if counted and counted.users:
        start += f", {fmt.count(counted.users)} users"
        if counted.not_drawn:
            start += f" drawn at random from {fmt.count(counted.users + counted.not_drawn)}"
        start += f" ({fmt.count(counted.skipped)} without a test item)" if counted.skipped else ""
    return f"{start}. Protocol {summary.protocol}: {said}."


class SideView(NamedTuple):
    """One side's spectrum; ``figure`` is the name of its figure."""

    figure: str
    name: str
    sentences: Sequence[str]
    table: Table


def _side(summary: RunResult, side: Side) -> SideView:
    return SideView(
        figure=f"spectrum_{side}",
        name=spectrum_sentences.PLURAL[side].capitalize(),
        sentences=spectrum_sentences.side_sentences(summary, side),
        table=spectrum_sentences.band_table(summary, side),
    )


class FigureView(NamedTuple):
    """A figure as the page has it; width and height in pixels of the page."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int


def _figure(png: bytes, caption: Caption) -> FigureView:
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return FigureView(data_uri(png), caption.alt, caption.text, width // 2, height // 2)


def data_uri(png: bytes) -> str:
    """A PNG as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _ticks(value: str) -> Markup:
    """Text in `backticks` as code; everything is escaped first."""
    from markupsafe import Markup, escape

    pieces = str(value).split("`")
    if len(pieces) % 2 == 0:  # an unpaired backtick is just a character
        return Markup(escape(value))
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(pieces))


def cadence_page(result: CadenceResult, png: bytes) -> str:
    """The page of `freqd cadence` as HTML text; ``png`` is its figure."""
    return template("cadence.html.j2").render(
        title=f"freqd: {result.name}",
        created=result.created[:16].replace("T", " "),
        version=result.freqd,
        data_name=result.data.name,
        verdict=cadence.verdict(result),
        advice=cadence.advice(result),
        facts=cadence.facts(result),
        figure=_figure(png, cadence.caption(result)),
        tables=cadence.tables(result),
        notes=cadence.notes(result),
    )


@lru_cache(maxsize=3)
def template(name: str = "template.html.j2") -> Template:
    """A template of this package; everything that it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("freqd.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticks"] = _ticks
    return environment.get_template(name)
