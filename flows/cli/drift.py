"""`freqd drift`: does the champion still fit what users do now?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from flows.cli.options import DONE, Set, Workdir, console, print_table, read_settings, start, workspace_of
from flows.cli.stack import deployment_of, show_times
from freqd.errors import InputError

DRIFTED = 3
"""Exit code of ``--fail`` where there is drift."""


def drift(
    *,
    new: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=True, help="Files with the new interactions [what is new in the settings' data]."),
    ] = None,
    config: Annotated[
        Path | None, Parameter(help="TOML file with settings [those of the champion's run, without its as_of].")
    ] = None,
    set_: Set = None,
    name: Annotated[str | None, Parameter(help="Registered model [the only one].")] = None,
    fail: Annotated[bool, Parameter(negative="", help="Exit code 3 if there is drift.")] = False,
    cron: Annotated[
        str | None, Parameter(help='Check on a schedule instead of now, e.g. "0 6 * * *" for every morning at six.')
    ] = None,
    timezone: Annotated[str | None, Parameter(help="Time zone of the cron line [this machine's].")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON.")] = False,
    workdir: Workdir = None,
) -> int:
    """Compare new interactions with those of the champion; above a limit, request a retraining.

    New are interactions later than the champion's that it has not seen. The retraining uses the settings of this check
    and starts if the servers are up (`freqd up`). Every check is kept below drift/ in the working directory.
    With --cron the check becomes a schedule; `freqd schedule` lists, pauses and removes it.
    """
    if cron is not None and (fail or as_json):
        raise InputError(
            "--cron only sets a schedule: there is no check to fail or to show", "leave --fail and --json out"
        )

    from tasks.mlops.champion import use_registry
    from tasks.runtime.environment import embed

    workspace = workspace_of(workdir)
    use_registry(workspace)
    if cron is not None:
        deployment_of(workspace)  # before anything is read: without servers there is no schedule
    embed(workspace)
    settings = _settings(workspace, config, set_, name)
    from flows.ops.deployments import WATCH
    from freqd.data.sources import anchored, require_source

    files = [str(path.absolute()) for path in new or ()]
    if cron is not None:
        from tasks.drift import require_among
        from tasks.mlops import registry
        from tasks.runtime.preflight import preflight

        require_source(settings, str(config or "the champion's run"))
        model = registry.resolve(name)
        preflight(settings, workspace)
        require_among(settings, files)
        deployment = deployment_of(workspace)
        label = f"drift-{config.stem if config else name or 'champion'}"
        show_times(
            label, deployment.schedule(label, cron, timezone, settings, workspace, WATCH, model=model, new=files)
        )
        return DONE
    found = start(anchored(settings, Path.cwd()), workdir, "drift:drift", model=name, new=tuple(files))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return DRIFTED if fail and found["found"] else DONE


def _settings(workspace: Any, config: Path | None, assignments: list[str] | None, name: str | None) -> Any:
    """The settings file's, or those of the champion's run, and what is set on the command line."""
    if config is not None:
        return read_settings(config, None, None, (None, None, None), assignments)
    from freqd.config import load
    from tasks.drift import champion_settings
    from tasks.mlops import registry

    own = champion_settings(workspace, registry.resolve(name))
    return load.build([own, *map(load.parse_assignment, assignments or [])])


def _show(found: dict[str, Any]) -> None:
    from tasks.drift import COLUMNS, sentence, table

    console.print(f"{found['model']} version {found['version']}: {found['headline']}", markup=False, soft_wrap=True)
    shown = Table(*COLUMNS, box=None, padding=(0, 2, 0, 0))
    for row in table(found):
        shown.add_row(*row.values())
    print_table(shown)
    console.print(sentence(found), markup=False, soft_wrap=True)
