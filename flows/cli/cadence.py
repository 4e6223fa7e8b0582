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
    console,
    registering,
    start,
)


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
    console.print()
    console.print(plain(found), markup=False, soft_wrap=True)
    console.print()
    for label, value in (
        ("report", folder / "cadence.html"),
        ("tables", folder),
        ("MLflow run", found.mlflow.run_id),
    ):
        console.print(f"{label:<11} {value}", markup=False, soft_wrap=True)
    return DONE
