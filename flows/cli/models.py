"""`freqd models`, `promote`, `rollback`, `audit`: what is registered, which version is champion, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.cli.options import BROKEN, DONE, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_facts, say_json, say_table
from freqd import numbers
from freqd.errors import InputError

if TYPE_CHECKING:
    from tasks.mlops.audit import AuditEntry
    from tasks.mlops.registry import Move
    from tasks.runtime.workspace import Workspace

Name = Annotated[str | None, Parameter(help="Registered model [the only one].")]
Version = Annotated[str, Parameter(name="VERSION", help="Number of a version, or an alias such as champion.")]

ALL_DAYS = 36_500.0

models_app = App(name="models", help="Registered models: list, show and compare versions.")


@models_app.command(name="list")
def models_list(*, name: Name = None, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """List the versions of all registered models, or of one."""
    _open_registry(workdir)
    from tasks.mlops import registry, versions

    names = [registry.resolve(name)] if name is not None else registry.names()
    rows = [versions.describe(version) for model in names for version in registry.versions(model)]
    if as_json:
        say_json([row.model_dump() for row in rows])
        return DONE
    if not rows:
        say("no model is registered; `freqd run` registers one")
        return DONE
    columns = ("model", "version", "aliases", "NDCG@10", "recall@10", "gap closed", "gate", "created", "run")
    cells = []
    for row in rows:
        tags = {label.removeprefix("freqd."): value for label, value in row.tags.items()}
        numbers = (_short(tags.get(label)) for label in registry.SHOWN)
        created = row.created[:16].replace("T", " ")
        cells.append(
            (row.name, row.version, ", ".join(row.aliases), *numbers, tags.get("verdict"), created, tags.get("run"))
        )
    say_table(columns, cells, optional=(8, 5, 4))
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
        say_json({**found.model_dump(), "audit": [entry.as_json() for entry in entries]})
        return DONE
    facts = []
    for label in ("name", "version", "aliases", "created", "mlflow_run"):
        value = getattr(found, label)
        facts.append((label.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value)))
    say_facts([*facts, *((label.removeprefix("freqd."), value) for label, value in found.tags.items())])
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
    """Compare two versions: their numbers, what users did with them, and the settings in which they differ."""
    workspace = _open_registry(workdir)
    from flows.cli.online import look, shown
    from tasks.mlops import registry, versions

    found = versions.compare(registry.resolve(name), one, other)
    known = {v.version: v for v in look(workspace, found.model, days=ALL_DAYS).versions}
    online = [known.get(version) for version in found.versions]
    if as_json:
        say_json({**found.model_dump(), "online": [v and v.model_dump() for v in online]})
        return DONE
    first, second = (f"version {version}" for version in found.versions)
    metrics = []
    for label, (a, b) in found.metrics.items():
        apart = "" if a is None or b is None else f"{'+' if b > a else ''}{numbers.plain(b - a)}"
        metrics.append((label.removeprefix("student_"), _short(a), _short(b), apart))
    say_table(("metric", first, second, "difference"), metrics)
    say()
    if any(online):
        rows = [
            ("users", *(v and v.users for v in online)),
            ("impressions", *(v and v.impressions for v in online)),
            ("click-through", *(v and shown(v.click_through) for v in online)),
            ("hit rate", *(v and shown(v.hit_rate) for v in online)),
            ("purchases", *(v and shown(v.conversion) for v in online)),
        ]
        say_table(("with users", first, second), rows)
        say()
    if not found.same_data:
        say("The two were evaluated on different data: their numbers must not be compared.")
    if found.params:
        say_table(("setting", first, second), [(label, *values) for label, values in found.params.items()])
    else:
        say("Their settings are the same.")
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
        say(f"version {move.version} of {model} is the champion already; nothing was changed")
        return DONE
    _say(move)
    if found.tags.get("freqd.verdict") == "not promoted":
        say(f"note: the gate had said no: {found.tags.get('freqd.reasons', '')}")
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
        say_json([entry.as_json() for entry in entries])
    elif not entries:
        others = sorted({entry.model for entry in trail.entries(None)})
        of = f"the audit trail has nothing of {name}; it has entries of: {', '.join(others)}"
        say(of if others else "the audit trail is empty")
    else:
        _show_entries(entries)
    wrong, ending = trail.check(), trail.ending()
    problems = (
        [f"line {', '.join(map(str, wrong))} is torn, or was changed or one before it taken out"] if wrong else []
    )
    problems += [ending] if ending else []
    for problem in problems:
        say(f"NOT WHOLE: {trail.path}: {problem}")
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
    say(f"champion of {move.model}: version {move.version}{before}")


def _show_entries(entries: Sequence[AuditEntry]) -> None:
    for entry in entries:
        before = f" (before: version {entry.previous})" if entry.previous else ""
        line = f"{entry.time[:19].replace('T', ' ')}  {entry.what:<8}  {entry.model} version {entry.version}{before}"
        say(f"{line}, by {entry.who}: {entry.why}")


def _short(value: float | str | None) -> str:
    """A number to four digits; text as it is."""
    try:
        return "" if value is None else numbers.plain(float(value))
    except ValueError:
        return str(value)
