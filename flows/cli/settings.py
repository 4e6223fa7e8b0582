"""`freqd settings` and `freqd doctor`: what can be set, and whether everything works."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.cli.options import BROKEN, DONE, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_records, say_table
from freqd.errors import InputError


def settings(
    section: Annotated[str | None, Parameter(help="Only this section, e.g. distill.")] = None,
    *,
    markdown: Annotated[bool, Parameter(negative="", help="As the Markdown page docs/settings.md.")] = False,
    as_json: AsJson = False,
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
    if as_json:
        say_records(("setting", "type", "default", "meaning"), [tuple(map(str, row)) for row in rows])
        return DONE
    say_table(("setting", "default", "meaning"), [(name, str(default), meaning) for name, _, default, meaning in rows])
    return DONE


def doctor(
    *,
    workdir: Workdir = None,
    ray: Annotated[str | None, Parameter(help="Also the nodes of the cluster of Ray at HOST:PORT.")] = None,
    as_json: AsJson = False,
) -> int:
    """Check versions, devices and stores; say what is wrong and how to fix it."""
    from flows.ops.doctor import examine

    problems = 0
    found = list(examine(workspace_of(workdir), ray))
    if as_json:
        say_records(("name", "ok", "detail", "remedy"), found)
        return DONE if all(ok for _, ok, _, _ in found) else BROKEN
    for name, ok, detail, remedy in found:
        problems += not ok
        say(f"{'ok' if ok else 'WRONG':<6}{name:<14}{detail}")
        if not ok:
            say(f"{'':<20}remedy: {remedy}")
    say("all is well" if not problems else f"{problems} to fix")
    return DONE if not problems else BROKEN
