"""`freqd settings` and `freqd doctor`: what can be set, and whether everything works."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from flows.cli.options import BROKEN, DONE, Workdir, console, workspace_of
from freqd.errors import InputError


def settings(
    section: Annotated[str | None, Parameter(help="Only this section, e.g. distill.")] = None,
    *,
    markdown: Annotated[bool, Parameter(negative="", help="As the Markdown page docs/settings.md.")] = False,
) -> int:
    """List all settings with their defaults and what they mean."""
    from freqd.config import RunConfig, describe
    from freqd.config.load import as_markdown

    rows = [row for row in describe(RunConfig) if section is None or row[0].split(".")[0] == section]
    if not rows:
        sections = sorted({row[0].split(".")[0] for row in describe(RunConfig)})
        raise InputError(f"there is no section {section!r} of settings", f"sections are: {', '.join(sections)}")
    if markdown:
        print(as_markdown(rows), end="")
        return DONE
    table = Table("setting", "default", "meaning", box=None, padding=(0, 2, 0, 0))
    for name, _, default, meaning in rows:
        table.add_row(name, escape(str(default)), escape(meaning))
    console.print(table)
    return DONE


def doctor(
    *,
    workdir: Workdir = None,
    ray: Annotated[str | None, Parameter(help="Also the nodes of the cluster of Ray at HOST:PORT.")] = None,
) -> int:
    """Check versions, devices and stores; say what is wrong and how to fix it."""
    from flows.ops.doctor import examine

    problems = 0
    for name, ok, detail, remedy in examine(workspace_of(workdir), ray):
        problems += not ok
        console.print(f"{'ok' if ok else 'WRONG':<6}{name:<14}{detail}", markup=False, soft_wrap=True)
        if not ok:
            console.print(f"{'':<20}remedy: {remedy}", markup=False, soft_wrap=True)
    console.print("all is well" if not problems else f"{problems} to fix")
    return DONE if not problems else BROKEN
