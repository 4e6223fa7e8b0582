"""Distillation methods as words: ``rce``, ``freqd+rce``, ``freqd[weight=0.1]+rce[filtered=false]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import DONE, NO_SETTINGS, SettingsFrom, read_settings
from flows.cli.output import AsJson, say_records, say_table
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import MethodConfig, ObjectiveConfig, RunConfig

BASELINES = ("scratch", "svd", "filtered_svd")
"""Methods without an objective; they are part of every comparison."""

ALONE = "alone"
"""The student trained as the methods are, with no objective."""

OUTSIDE = r"(?![^\[]*\])"
"""Behind a separator: it does not stand within brackets."""


def words_of(words: Iterable[str]) -> list[str]:
    """Words separated by commas or spaces, each once; a file whose name has a comma is taken whole."""
    parts = [part for word in words for part in ([word] if Path(word).exists() else re.split(rf",{OUTSIDE}", word))]
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def resolve(settings: RunConfig, names: Sequence[str] | None) -> dict[str, tuple[ObjectiveConfig, ...]]:
    """The objectives of each method, by the method's name; baselines have none and are left out.

    An objective of ``distill.objectives`` keeps its weight and options, another one has weight 1; what stands in brackets
    changes them. The order within a method is that of the settings, so that it is trained exactly as a run would train it.

    Args:
        settings: the run's settings.
        names: methods, ``alone`` among them; None is the settings' own sum of objectives.

    Raises:
        InputError: a method does not exist, or its brackets cannot be read.
    """
    from freqd.distill import REGISTRY, check_objectives

    own = {term.name: term for term in settings.distill.objectives}
    exist = f"methods are: {', '.join((*BASELINES, ALONE, *sorted(REGISTRY)))}, and sums of all but the first four, as freqd+rce"
    if names is None:
        names = ["+".join(own)] if own else []
    elif not names:
        raise InputError("--methods names no method", exist)
    ranks = {term: rank for rank, term in enumerate(own)}
    resolved: dict[str, tuple[ObjectiveConfig, ...]] = {}
    for method in names:
        if method in BASELINES:
            continue
        if method == ALONE:
            resolved[ALONE] = ()
            continue
        terms = [_term(term.strip(), method, own) for term in re.split(rf"\+{OUTSIDE}", method)]
        for _, term in terms:
            if term.name in (*BASELINES, ALONE):
                raise InputError(f"{term.name!r} cannot be part of the sum {method!r}", exist)
            if term.name not in REGISTRY:
                raise InputError(f"there is no method {term.name!r}", exist)
        if len({term.name for _, term in terms}) < len(terms):
            raise InputError(f"method {method!r} names an objective twice", "name each once; its weight is a setting")
        terms.sort(key=lambda pair: ranks.get(pair[1].name, len(ranks)))
        objectives = tuple(term for _, term in terms)
        check_objectives(objectives, settings.teacher)
        resolved["+".join(written for written, _ in terms)] = objectives
    return resolved


def _term(written: str, method: str, own: Mapping[str, ObjectiveConfig]) -> tuple[str, ObjectiveConfig]:
    """One term of a sum as it was written, and its objective."""
    from pydantic import ValidationError

    from freqd.config import ObjectiveConfig
    from freqd.config.load import parse_assignment

    found = re.fullmatch(r"([^\[\]]*?)(?:\[([^\[\]]*)\])?", written)
    if found is None:
        raise InputError(f"method {method!r} cannot be read", "for example freqd[weight=0.1]+rce[filtered=false]")
    name, changes = found[1].strip(), found[2]
    term = own.get(name) or ObjectiveConfig(name=name)
    given: dict[str, object] = {}
    for change in (changes or "").split(","):
        if change.strip():
            given |= parse_assignment(change)
    weight = given.pop("weight", term.weight)
    try:
        return written, ObjectiveConfig.model_validate(
            {"name": name, "weight": weight, "options": {**term.options, **given}}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"method {method!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            "for example rce[weight=0.5,filtered=false]",
        ) from error


def tuned(paths: Sequence[Path]) -> dict[str, MethodConfig]:
    """Methods with step size and L2 strength of their own, from files that ``freqd tune`` wrote; by name, ``NAME (tuned)``.

    Raises:
        InputError: a file cannot be read, names no objective, or two are the same method.
    """
    from freqd.config import MethodConfig
    from freqd.config.load import build
    from freqd.distill import check_objectives

    found: dict[str, MethodConfig] = {}
    for path in paths:
        settings = build([read_settings(path)])
        distill = settings.distill
        check_objectives(distill.objectives, settings.teacher)
        name = "+".join(term.name for term in distill.objectives) + " (tuned)"
        if not distill.objectives or name in found:
            what = "has no objective" if not distill.objectives else f"is a second file of {name!r}"
            raise InputError(f"--tuned {path} {what}", "give one file per method, as freqd tune wrote it")
        found[name] = MethodConfig(
            objectives=distill.objectives, learning_rate=distill.learning_rate, weight_decay=distill.weight_decay
        )
    return found


def methods(*, given: SettingsFrom = NO_SETTINGS, as_json: AsJson = False) -> int:
    """List the objectives of distillation and the kinds of teachers, and where each comes from."""
    from freqd.distill.objectives import REGISTRY as objectives
    from freqd.teachers.kinds import REGISTRY as teachers

    given.read()
    header = ("name", "is", "comes")
    rows = [(name, "student without an objective", "built in") for name in (*BASELINES, ALONE)]
    for registry in (objectives, teachers):
        rows += [(name, registry.sort, registry.origin(name)) for name in sorted(registry)]
    if as_json:
        say_records(header, rows)
    else:
        say_table(header, rows)
    return DONE
