"""`freqd explain`: why an item is recommended to a user, by a model of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.model_options import ModelName
from flows.cli.options import DONE, Workdir, console, find_run
from freqd.errors import InputError
from freqd.pseudonym import pseudonym, shape

if TYPE_CHECKING:
    import polars as pl

    from freqd.data.interactions import Split
    from freqd.serve.explain import Explanation, Side, Taste
    from tasks.runtime.workspace import Workspace


@dataclass(frozen=True)
class NamedNeighbour:
    """A neighbour that carried a part of the score, see ``freqd.serve.explain.Neighbour``; ``id`` is its name."""

    id: str
    share: float
    score: float
    met: bool


@dataclass(frozen=True)
class View:
    """One graph's view of the score: a number a band, low to high, their sums by kind, and who carried the shared part."""

    bands: list[float]
    shared: float
    middle: float
    niche: float
    neighbours: list[NamedNeighbour]


@dataclass(frozen=True)
class NamedExplanation:
    """An explanation with names in the place of rows; its fields are the keys of ``--json``.

    Attributes:
        run, model: whose score it is.
        edges: one more than there are bands.
        by_both: (bands, bands) user bands down, as nested lists.
    """

    run: str
    model: ModelName
    user: str
    item: str
    score: float
    met_in_training: bool
    edges: list[float]
    taste: list[Taste]
    by_user_graph: View
    by_item_graph: View
    by_both: list[list[float]]


def explain(
    user: Annotated[str, Parameter(name="USER", help="The user's own id.")],
    item: Annotated[str, Parameter(name="ITEM", help="The item's own id.")],
    *,
    from_: Annotated[str, Parameter(name="--from", help="The run to look into; 'last' is the latest.")] = "last",
    model: Annotated[ModelName, Parameter(help="Which of the run's models.")] = "student",
    top: Annotated[int, Parameter(help="Neighbours to list a side.", validator=Number(gte=0))] = 5,
    show_ids: Annotated[
        bool, Parameter(name="--show-ids", negative="", help="Name users by their own ids, not by pseudonyms.")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON.")] = False,
    workdir: Workdir = None,
) -> int:
    """Split the score of an item for a user by graph frequency, and name the neighbours that carried it.

    Users are named by pseudonyms, so that an explanation may be passed on.
    """
    from freqd.data.interactions import Split
    from tasks.mlops.model_source import artifact

    workspace, folder = find_run(workdir, from_)
    run, summary = folder.name, json.loads((folder / "summary.json").read_text())
    split = artifact(workspace, summary, "ingest.split", Split)

    def name(own: str) -> str:
        return own if show_ids else pseudonym(workspace.salt, own)

    rows = (
        _row(run, "user", split.user_ids, user, split.item_ids),
        _row(run, "item", split.item_ids, item, split.user_ids),
    )
    found = _explanation(workspace, summary, split, model, rows, top)
    named = NamedExplanation(
        run=run,
        model=model,
        user=name(user),
        item=item,
        score=found.score,
        met_in_training=found.seen,
        edges=found.edges.tolist(),
        taste=found.taste,
        by_user_graph=_view(found.user, found.taste, split.user_ids, name),
        by_item_graph=_view(found.item, found.taste, split.item_ids, str),
        by_both=found.both.tolist(),
    )
    if as_json:
        print(json.dumps(asdict(named), indent=1))
    else:
        _show(named)
    return DONE


def _row(run: str, what: str, ids: pl.Series, asked: str, others: pl.Series) -> int:
    """The row of an own id.

    Raises:
        InputError: the run does not know it; if it is one of the ``others``, USER and ITEM were likely swapped.
    """
    known = ids.cast(str)
    row = known.index_of(asked)
    if row is not None:
        return row
    told = shape if what == "user" else str
    like = ", ".join(dict.fromkeys(told(value) for value in known[:3]))
    turned = asked in others.cast(str)
    built_like = f"{what} with this id, built like {shape(asked)!r}"
    named = f"item {asked!r}" if what == "item" and not turned else built_like
    order = "; USER comes first, then ITEM" if turned else ""
    raise InputError(f"run {run} has no {named}", f"its {what}s' ids are like: {like}{order}")


def _explanation(
    workspace: Workspace, summary: Mapping[str, Any], split: Split, model: ModelName, rows: tuple[int, int], top: int
) -> Explanation:
    """The explanation of one score; ``rows`` are those of the user and the item."""
    from freqd.config.load import build
    from freqd.embeddings import TrainedModel
    from freqd.graph import Graphs
    from freqd.serve.explain import explain
    from freqd.spectral import Spectrum
    from tasks.mlops.model_source import WHERE, artifact

    return explain(
        artifact(workspace, summary, WHERE[model], TrainedModel).features,
        artifact(workspace, summary, "graph.graphs", Graphs),
        artifact(workspace, summary, "spectrum.spectrum", Spectrum).edges,
        build([summary["config"]]).spectral,
        *rows,
        seen=split.train.matrix(),
        top=top,
    )


def _view(side: Side, taste: list[Taste], ids: pl.Series, name: Callable[[str], str]) -> View:
    from freqd.serve.explain import total

    return View(
        bands=side.bands.tolist(),
        shared=total(side, taste, "shared"),
        middle=total(side, taste, "middle"),
        niche=total(side, taste, "niche"),
        neighbours=[NamedNeighbour(name(str(ids[n.row])), n.share, n.score, n.met) for n in side.neighbours],
    )


def _show(found: NamedExplanation) -> None:
    from rich.table import Table

    title = f"{found.model} of run {found.run}: user {found.user}, item {found.item}, score {found.score:.4f}"
    console.print(title + (" (met in training)" if found.met_in_training else ""), markup=False, soft_wrap=True)
    columns = ("frequency", "taste", "by the user graph", "by the item graph")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    views = found.by_user_graph, found.by_item_graph
    for band, kind in enumerate(found.taste):
        parts = (f"{view.bands[band]:+.4f}" for view in views)
        table.add_row(f"{found.edges[band]:.3f} to {found.edges[band + 1]:.3f}", kind, *parts)
    table.add_row("sum", "", *(f"{sum(view.bands):+.4f}" for view in views))
    console.print(table)
    console.print("shared: where neighbours agree; niche: where they differ.")
    for what, view, met in (
        ("Items", views[1], "the user has met it"),
        ("Users", views[0], "has met the item"),
    ):
        console.print(f"{what} that carried the shared part:" + ("" if view.neighbours else " none"))
        for entry in view.neighbours:
            line = f"  {entry.share:+.4f}  {entry.id}{f'  ({met})' if entry.met else ''}"
            console.print(line, markup=False, soft_wrap=True)
