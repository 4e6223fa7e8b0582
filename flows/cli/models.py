"""`freqd models`, `promote`, `rollback`, `audit`: what is registered, which version is champion, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.table import Table

from flows.cli.options import BROKEN, DONE, Workdir, console, print_table, workspace_of
from freqd.errors import InputError

if TYPE_CHECKING:
    from tasks.mlops.audit import AuditEntry
    from tasks.mlops.registry import Move
    from tasks.runtime.workspace import Workspace

Name = Annotated[str | None, Parameter(help="Registered model [the only one].")]
Version = Annotated[str, Parameter(name="VERSION", help="Number of a version, or an alias such as champion.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="As JSON.")]

models_app = App(name="models", help="Registered models: list, show and compare versions.")


@models_app.command(name="list")
def models_list(*, name: Name = None, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """List the versions of all registered models, or of one."""
    _open_registry(workdir)
    from tasks.mlops import registry, versions

    names = [registry.resolve(name)] if name is not None else registry.names()
    rows = [versions.describe(version) for model in names for version in registry.versions(model)]
    if as_json:
        print(json.dumps([row.model_dump() for row in rows], indent=1))
        return DONE
    if not rows:
        console.print("no model is registered; `freqd run` registers one")
        return DONE
    columns = ("model", "version", "aliases", "NDCG@10", "recall@10", "gap closed", "gate", "created", "run")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        tags = {label.removeprefix("freqd."): value for label, value in row.tags.items()}
        numbers = (_short(tags.get(label)) for label in registry.SHOWN)
        table.add_row(
            row.name, row.version, ", ".join(row.aliases), *numbers,
            tags.get("verdict", ""), row.created[:16].replace("T", " "), tags.get("run", ""),
        )  # fmt: skip
    print_table(table)
    return DONE


@models_app.command(name="show")
def models_show(version: Version, *, name: Name = None, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """Show all that is known about one version, and how it became champion."""
    workspace = _open_registry(workdir)
    from tasks.mlops import registry, versions

    model = registry.resolve(name)
    found = versions.describe(registry.find(model, version))
    entries = [entry for entry in registry.trail(workspace).entries(model) if entry.version == found.version]
    if as_json:
        print(json.dumps({**found.model_dump(), "audit": [entry.as_json() for entry in entries]}, indent=1))
        return DONE
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label in ("name", "version", "aliases", "created", "mlflow_run"):
        value = getattr(found, label)
        table.add_row(label.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
    for label, value in found.tags.items():
        table.add_row(label.removeprefix("freqd."), value)
    print_table(table)
    _show_entries(entries)
    return DONE


@models_app.command(name="compare")
def models_compare(
    one: Annotated[str, Parameter(name="A", help="A version or an alias.")],
    other: Annotated[str, Parameter(name="B", help="Another one.")],
    *,
    name: Name = None,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Compare two versions: their numbers, and the settings in which they differ."""
    _open_registry(workdir)
    from tasks.mlops import registry, versions

    found = versions.compare(registry.resolve(name), one, other)
    if as_json:
        print(json.dumps(found.model_dump(), indent=1))
        return DONE
    first, second = (f"version {version}" for version in found.versions)
    table = Table("metric", first, second, "difference", box=None, padding=(0, 2, 0, 0))
    for label, (a, b) in found.metrics.items():
        apart = "" if a is None or b is None else f"{b - a:+.4g}"
        table.add_row(label.removeprefix("student_"), _short(a), _short(b), apart)
    print_table(table)
    if not found.same_data:
        console.print("The two were evaluated on different data: their numbers must not be compared.")
    table = Table("setting", first, second, box=None, padding=(0, 2, 0, 0))
    for label, values in found.params.items():
        table.add_row(label, *(value or "" for value in values))
    if found.params:
        print_table(table)
    else:
        console.print("Their settings are the same.")
    return DONE


def promote(
    version: Version,
    *,
    why: Annotated[str, Parameter(help="The reason, for the audit trail.")],
    name: Name = None,
    workdir: Workdir = None,
) -> int:
    """Make a version the champion, whatever the gate said; who, when and why is recorded."""
    why = _reason(why)
    workspace = _open_registry(workdir)
    from tasks.mlops import registry
    from tasks.mlops.audit import Decision, person

    model = registry.resolve(name)
    found = registry.find(model, version)
    decision = Decision(person(), why, registry.evidence_of(found))
    move = registry.promote(workspace, model, str(found.version), decision)
    if not move.changed:
        console.print(f"version {move.version} of {model} is the champion already; nothing was changed", markup=False)
        return DONE
    _say(move)
    if found.tags.get("freqd.verdict") == "not promoted":
        console.print(
            f"note: the gate had said no: {found.tags.get('freqd.reasons', '')}", markup=False, soft_wrap=True
        )
    return DONE


def rollback(
    *,
    why: Annotated[str, Parameter(help="The reason, for the audit trail.")] = "rolled back by hand",
    name: Name = None,
    workdir: Workdir = None,
) -> int:
    """Make the champion's predecessor the champion again; given again, it goes one further back."""
    why = _reason(why)
    workspace = _open_registry(workdir)
    from tasks.mlops import registry
    from tasks.mlops.audit import person

    _say(registry.rollback(workspace, registry.resolve(name), who=person(), why=why))
    return DONE


def audit(*, name: Name = None, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """Show who or what moved which model, when, why and on which evidence; exit code 1 if the trail was tampered with."""
    from tasks.mlops.audit import AuditTrail

    trail = AuditTrail.of(workspace_of(workdir).root)
    entries = trail.entries(name)
    if as_json:
        print(json.dumps([entry.as_json() for entry in entries], indent=1))
    elif not entries:
        others = sorted({entry.model for entry in trail.entries(None)})
        of = f"the audit trail has nothing of {name}; it has entries of: {', '.join(others)}"
        console.print(of if others else "the audit trail is empty", markup=False, soft_wrap=True)
    else:
        _show_entries(entries)
    wrong, ending = trail.check(), trail.ending()
    problems = (
        [f"line {', '.join(map(str, wrong))} is torn, or was changed or one before it taken out"] if wrong else []
    )
    problems += [ending] if ending else []
    for problem in problems:
        console.print(f"NOT WHOLE: {trail.path}: {problem}", markup=False, soft_wrap=True)
    return BROKEN if problems else DONE


def _open_registry(workdir: Path | None) -> Workspace:
    """The workspace, once the registry of a working directory can be asked."""
    workspace = workspace_of(workdir)
    from tasks.runtime.server_state import Stack

    if Stack.running(workspace) is not None:
        from tasks.runtime.environment import embed

        embed(workspace, flows=False)
    else:
        from tasks.mlops.champion import use_registry

        use_registry(workspace)
    return workspace


def _reason(why: str) -> str:
    from tasks.mlops.audit import readable

    if not why.strip():
        raise InputError("--why is empty", "say why in a few words: it is kept in the audit trail")
    return readable(why)


def _say(move: Move) -> None:
    before = f", version {move.previous} before it" if move.previous else ", the first one"
    console.print(f"champion of {move.model}: version {move.version}{before}", markup=False, soft_wrap=True)


def _show_entries(entries: Sequence[AuditEntry]) -> None:
    for entry in entries:
        before = f" (before: version {entry.previous})" if entry.previous else ""
        line = f"{entry.time[:19].replace('T', ' ')}  {entry.what:<8}  {entry.model} version {entry.version}{before}"
        console.print(f"{line}, by {entry.who}: {entry.why}", markup=False, soft_wrap=True)


def _short(value: float | str | None) -> str:
    """A number to four digits; text as it is."""
    try:
        return "" if value is None else f"{float(value):.4g}"
    except ValueError:
        return str(value)
