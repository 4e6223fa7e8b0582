"""Which plugins the settings of a run name: their source is part of the keys of stages, and of a version's lineage."""

from __future__ import annotations

from freqd.config import DistillConfig, RunConfig, TeacherConfig
from freqd.distill import objectives
from freqd.plugins import Plugin
from freqd.teachers import kinds as teachers


def of_teacher(config: TeacherConfig) -> dict[str, Plugin]:
    """The plugin that provides the kind of teacher, by its name; empty if it is built in."""
    return teachers.REGISTRY.plugins([config.kind])


def of_distill(config: DistillConfig) -> dict[str, Plugin]:
    """The plugins that provide objectives, by their names."""
    return objectives.REGISTRY.plugins(term.name for term in config.objectives)


def sources(plugins: dict[str, Plugin]) -> dict[str, str | None]:
    """For the key of a stage: the digest of each plugin's source."""
    return {f"plugin.{name}": plugin.digest for name, plugin in plugins.items()}


def lineage(config: RunConfig) -> dict[str, str]:
    """The tag of a version that says which plugins made it, as ``name=digest``; none if there are none."""
    used = [*of_teacher(config.teacher).items(), *of_distill(config.distill).items()]
    return {"freqd.plugins": ", ".join(f"{name}={plugin.digest[:12]}" for name, plugin in used)} if used else {}


def files(config: RunConfig) -> list[str]:
    """The Python files among them, each once."""
    used = (*of_teacher(config.teacher).values(), *of_distill(config.distill).values())
    return list(dict.fromkeys(str(plugin.file) for plugin in used if plugin.file is not None))
