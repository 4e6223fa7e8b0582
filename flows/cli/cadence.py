"""`freqd cadence`: how fast a model ages, what retraining costs, and how often to do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.options import (
    DONE,
    NO_SETTINGS,
    DataOptions,
    SettingsFrom,
    Workdir,
    check_name,
    registering,
    start,
)
from flows.cli.output import AsJson, say, say_json, say_places, width


def cadence(
    *,
    data: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, help="A named data set, or files, with times [data.source]."),
    ] = None,
    windows: Annotated[int | None, Parameter(help="Windows in time, in place of the setting cadence.windows.")] = None,
    refit: Annotated[
        bool, Parameter(help="Also hold refitted students against judged ones [cadence.refit].", negative="")
    ] = False,
    given: SettingsFrom = NO_SETTINGS,
    workdir: Workdir = None,
    name: Annotated[str | None, Parameter(help="Name of the result [data set and time].")] = None,
    as_json: AsJson = False,
) -> int:
    """Measure how fast a model ages and what retraining costs; recommend how often to retrain.

    A model is made before each window in time, and evaluated on all windows after it. What was computed is not
    computed again, so a command that was stopped resumes when it is given again.
    """
    from freqd.cadence import check_settings

    own = [] if windows is None else [f"cadence.windows={windows}"]
    own += ["cadence.refit=true"] if refit else []
    settings = given.read(DataOptions(data), *own)
    check_name(name)
    check_settings(settings)
    result = start(registering(settings, False), workdir, "cadence:cadence", name=name)
    from freqd.report.cadence import plain
    from freqd.report.cadence_result import CadenceResult

    found = CadenceResult.model_validate(result)
    folder = Path(found.folder)
    if as_json:
        say_json(result)
        return DONE
    say()
    say(plain(found, width()))
    say_places([("report", folder / "cadence.html"), ("tables", folder), ("MLflow run", found.mlflow.run_id)])
    return DONE
