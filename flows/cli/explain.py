"""`freqd explain`: why an item is recommended to a user, by a model of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.model_options import ModelName
from flows.cli.options import DONE, Workdir, find_run
from flows.cli.output import AsJson, say, say_json, say_table
from freqd.errors import InputError
from freqd.pseudonym import pseudonym, shape

if TYPE_CHECKING:
    import polars as pl

    from freqd.data.interactions import Split
    from freqd.json_types import JsonObject
    from freqd.report.run_result import RunResult
    from freqd.serve.explain import Explained, Explanation, Side
    from tasks.runtime.workspace import Workspace


class Names(NamedTuple):
    """How the nodes of either side are named, by their rows."""

    user: Callable[[int], str]
    item: Callable[[int], str]


@Parameter(name="*")
@dataclass(frozen=True)
class OfRun:
    """The model that explains."""

    from_: Annotated[str, Parameter(name="--from", help="The run to look into; 'last' is the latest.")] = "last"
    model: Annotated[ModelName, Parameter(help="Which of the run's models.")] = "student"
    workdir: Workdir = None


OF_RUN = OfRun()


@Parameter(name="*")
@dataclass(frozen=True)
class Look:
    """How it is shown."""

    top: Annotated[int, Parameter(help="Neighbours to list a side.", validator=Number(gte=0))] = 5
    show_ids: Annotated[
        bool, Parameter(name="--show-ids", negative="", help="Name users by their own ids, not by pseudonyms.")
    ] = False
    as_json: AsJson = False


LOOK = Look()


def explain(
    user: Annotated[str, Parameter(name="USER", help="The user's own id.")],
    item: Annotated[str, Parameter(name="ITEM", help="The item's own id.")],
    *,
    of_run: OfRun = OF_RUN,
    look: Look = LOOK,
) -> int:
    """Split the score of an item for a user by graph frequency, and name the neighbours that contributed most.

    Users are named by pseudonyms, so that an explanation can be passed on.
    """
    from freqd.data.interactions import Split
    from freqd.report.run_result import RunResult
    from freqd.serve.explain import explain as explained
    from tasks.mlops.model_source import artifact

    workspace, folder = find_run(of_run.workdir, of_run.from_)
    run, result = folder.name, RunResult.load(folder / "summary.json")
    split = artifact(workspace, result, "ingest.split", Split)
    rows = (
        _row(run, "user", split.user_ids, user, split.item_ids),
        _row(run, "item", split.item_ids, item, split.user_ids),
    )
    found = explained(_model(workspace, result, split, of_run.model), *rows, top=look.top)

    def name(own: str) -> str:
        return own if look.show_ids else pseudonym(workspace.salt, own)

    names = Names(lambda row: name(str(split.user_ids[row])), lambda row: str(split.item_ids[row]))
    if look.as_json:
        asked = {"run": run, "model": of_run.model, "user": name(user), "item": item}
        say_json(asked | _values(found, names))
    else:
        _show(f"{of_run.model} of run {run}: user {name(user)}, item {item}", found, names)
        if result.spectrum.whole_ndcg is not None and of_run.model == "teacher":
            say("This teacher is no pair of tables: what is explained is the table that comes near it.")
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


def _model(workspace: Workspace, result: RunResult, split: Split, model: ModelName) -> Explained:
    """A model of the run, with the graphs and bands of the run."""
    from freqd.config.load import build
    from freqd.embeddings import TrainedModel
    from freqd.graph import Graphs
    from freqd.serve.explain import Explained
    from freqd.spectral import Spectrum
    from tasks.mlops.model_source import WHERE, artifact

    return Explained(
        features=artifact(workspace, result, WHERE[model], TrainedModel).features,
        graphs=artifact(workspace, result, "graph.graphs", Graphs),
        edges=artifact(workspace, result, "spectrum.spectrum", Spectrum).edges,
        config=build([result.config]).spectral,
        seen=split.train.matrix(),
    )


def _values(found: Explanation, names: Names) -> JsonObject:
    """An explanation as JSON has it."""
    from freqd.serve.explain import total

    def side(view: Side, name: Callable[[int], str]) -> JsonObject:
        return {
            "bands": view.bands.tolist(),
            **{kind: total(view, found.taste, kind) for kind in ("shared", "middle", "niche")},
            "neighbours": [{"id": name(n.row), "share": n.share, "score": n.score, "met": n.met} for n in view.neighbours],
        }  # fmt: skip

    return {
        "score": found.score,
        "met_in_training": found.seen,
        "edges": found.edges.tolist(),
        "taste": found.taste,
        "by_user_graph": side(found.user, names.user),
        "by_item_graph": side(found.item, names.item),
        "by_both": found.both.tolist(),
    }


def _show(what: str, found: Explanation, names: Names) -> None:
    title = f"{what}, score {found.score:.4f}"
    say(title + (" (met in training)" if found.seen else ""))
    views, rows = (found.user, found.item), []
    for band, kind in enumerate(found.taste):
        parts = (f"{view.bands[band]:+.4f}" for view in views)
        rows.append((f"{found.edges[band]:.3f} to {found.edges[band + 1]:.3f}", kind, *parts))
    rows.append(("sum", "", *(f"{sum(view.bands):+.4f}" for view in views)))
    say_table(("frequency", "taste", "by the user graph", "by the item graph"), rows)
    say("shared: where neighbours agree; niche: where they differ.")
    for nodes, view, name, met in (
        ("Items", found.item, names.item, "the user has met it"),
        ("Users", found.user, names.user, "has met the item"),
    ):
        say(f"{nodes} that contributed most to the shared component:" + ("" if view.neighbours else " none"))
        for entry in view.neighbours:
            line = f"  {entry.share:+.4f}  {name(entry.row)}{f'  ({met})' if entry.met else ''}"
            say(line)
