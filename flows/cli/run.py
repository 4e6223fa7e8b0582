"""`freqd run`, `freqd stage`, `freqd report`: the main job and what it left."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.options import (
    DONE,
    NO_PARTS,
    NO_SETTINGS,
    DataOptions,
    Parts,
    PluginFiles,
    SettingsFrom,
    Workdir,
    check_file,
    check_name,
    find_run,
    start,
)
from flows.cli.output import AsJson, say, say_json, say_places, width
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.report.run_result import RunResult


@Parameter(name="*")
@dataclass(frozen=True)
class NewRun:
    """The run that is started."""

    workdir: Workdir = None
    name: Annotated[str | None, Parameter(help="Name of the run [data set and time].")] = None
    start_from: Annotated[
        str | None, Parameter(help="Go on from the models of an earlier run: its name, or champion [start.run].")
    ] = None
    summary: Annotated[Path | None, Parameter(help="Also write the summary to this JSON file.")] = None


NEW_RUN = NewRun()


def run(
    *,
    given: SettingsFrom = NO_SETTINGS,
    data: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="A named data set, or CSV, TSV or Parquet files.")
    ] = None,
    parts: Parts = NO_PARTS,
    new: NewRun = NEW_RUN,
    as_json: AsJson = False,
) -> int:
    """Run the main job: from interactions to a registered student.

    Settings are taken from the preset, then the file, then the options; later ones win.
    A run that was killed resumes when the same command is given again.
    """
    settings = given.read(DataOptions(data, parts), start_from=new.start_from)
    check_name(new.name)
    summary = new.summary and new.summary.expanduser()
    check_file("--summary", summary)
    result = start(settings, new.workdir, run_name=new.name)
    if summary is not None:
        from freqd.storage.files import storage_error, write_atomic

        try:
            write_atomic(summary, json.dumps(result, indent=1))
        except OSError as error:
            raise storage_error(error, summary.parent) from error
    if as_json:
        say_json(result)
        return DONE
    from freqd.report.run_result import RunResult

    _show(RunResult.model_validate(result))
    return DONE


def stage(
    stage_name: Annotated[
        str,
        Parameter(
            name="NAME",
            help="ingest, graph, teacher, spectrum, references, baselines, svd, filtered_svd, distill, evaluate or register.",
        ),
    ],
    *,
    from_: Annotated[str, Parameter(name="--from", help="The run whose settings are used; 'last' is the latest.")],
    plugin: PluginFiles = None,
    workdir: Workdir = None,
) -> int:
    """Run one stage of an earlier run again, and say whether its result is the same.

    The stages before it come from the cache. What comes after it is not run: `freqd run` does that, as needed.
    """
    from freqd import plugins
    from freqd.config.load import build
    from freqd.report.run_result import RunResult

    plugins.load_files(plugin or ())
    workspace, folder = find_run(workdir, from_)
    before = RunResult.load(folder / "summary.json")
    digests = {entry.name: entry.digest for entry in before.stages}
    if stage_name not in digests:
        raise InputError(f"run {folder.name} has no stage {stage_name!r}", f"its stages are: {', '.join(digests)}")
    started = {"start": {"run": (before.start and before.start.run) or "none"}}  # a champion may have moved on
    with contextlib.chdir(_home(before)):
        result = start(
            build([before.config, started]),
            workspace.root,
            run_name=f"{folder.name}-{stage_name}",
            force=(stage_name,),
            until=stage_name,
        )
    from pydantic import TypeAdapter

    from tasks.run_context import StageOutcome

    *_, again = TypeAdapter(list[StageOutcome]).validate_python(result["stages"])
    same = (
        "the same result as before"
        if again.digest == digests[stage_name]
        else "a different result; `freqd run` continues with it"
    )
    say(f"{stage_name}: {again.seconds:.1f} s, {same}")
    return DONE


def _home(result: RunResult) -> Path:
    """The folder in which the run was started, of which its relative paths are; this one if that is gone."""
    home = Path(result.folder)
    return home if home.is_dir() else Path()


def report(
    run_name: Annotated[str, Parameter(name="RUN", help="Name of the run; 'last' is the latest.")] = "last",
    *,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Show a run's result table and where its report is; a missing report is written again."""
    _, folder = find_run(workdir, run_name)
    from freqd.report.run_result import RunResult

    result = RunResult.load(folder / "summary.json")
    if not (folder / "report.html").is_file():
        from freqd.report.run import html
        from freqd.report.samples import Samples
        from freqd.storage.files import write_atomic

        kept = folder / "samples.json"
        samples = Samples.model_validate_json(kept.read_text()) if kept.is_file() else None
        write_atomic(folder / "report.html", html.render(result, samples=samples))
    if as_json:
        say_json(result.model_dump(mode="json"))
        return DONE
    _show(result)
    return DONE


def _show(result: RunResult) -> None:
    from freqd.report.run import text

    folder = Path(result.workdir) / "runs" / result.run
    say()
    say(text.result_table(result, width()))
    say_places(
        [
            ("report", folder / "report.html"),
            ("summary", folder / "summary.json"),
            ("MLflow run", result.mlflow.run_id),
        ]
    )
