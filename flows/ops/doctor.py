"""What `freqd doctor` checks: versions, devices, stores."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from freqd import provenance
from freqd.config import EngineConfig
from freqd.errors import InputError
from tasks.runtime.engine import require_ray
from tasks.runtime.environment import SWITCHES
from tasks.runtime.workspace import MIN_FREE_BYTES, Workspace

Finding = tuple[str, bool, str, str]
"""(what, whether it is well, what was seen, how to fix it)."""


def examine(workspace: Workspace, cluster: str | None = None) -> Iterator[Finding]:
    """All findings, cheap ones first; with ``cluster`` also those of the nodes of that cluster of Ray."""
    supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield "Python", supported, sys.version.split()[0], "use Python 3.11 or 3.12"
    yield from _packages()
    yield _device()
    yield _cores()
    yield _workdir(workspace)
    for name, path in (
        ("Prefect", workspace.prefect_home / "prefect.db"),
        ("MLflow", workspace.mlflow_home / "mlflow.db"),
    ):
        yield _store(name, path)
    wrong = [name for name, value in SWITCHES.items() if os.environ.get(name, value) != value]
    yield "telemetry", not wrong, "off" if not wrong else f"set by {', '.join(wrong)}", f"unset {', '.join(wrong)}"
    if cluster is not None:
        yield from _cluster(workspace, cluster)


def _packages() -> Iterator[Finding]:
    """Every requirement of freqd against what is installed: a wrong version breaks Prefect in ways hard to see."""
    for text in importlib.metadata.requires("freqd") or []:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield need.name, False, "not installed", "run `make setup`"
            continue
        fits = need.specifier.contains(version, prereleases=True)
        yield (
            need.name,
            fits,
            f"{version} (needs {need.specifier or 'any'})",
            "run `make setup`, which installs what constraints.txt pins",
        )


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return "device", True, f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}", ""
    return "device", True, "CPU (no GPU that torch can use)", ""


def _cores() -> Finding:
    facts = provenance.environment()
    memory = facts.memory_bytes / 2**30
    return (
        "machine",
        memory >= 2,
        f"{facts.cpu}, {facts.cores} cores, {memory:.1f} GiB",
        "use a machine with 2 GiB or more",
    )


def _workdir(workspace: Workspace) -> Finding:
    place: Path = workspace.root
    while not place.exists():
        place = place.parent
    try:
        if workspace.root.exists():
            workspace.prepare()
        elif not os.access(place, os.W_OK):
            raise InputError(
                f"{place} cannot be written", "name another working directory with --workdir (or FREQD_WORKDIR)"
            )
    except InputError as error:
        return "workdir", False, error.problem, error.remedy
    free = shutil.disk_usage(place).free
    seen = f"{workspace.root}{'' if workspace.root.exists() else ' (not made yet)'}, {free / 2**30:.1f} GiB free"
    return "workdir", free >= MIN_FREE_BYTES, seen, "free some space, or name another working directory"


def _store(name: str, path: Path) -> Finding:
    variable = "PREFECT_API_URL" if name == "Prefect" else "MLFLOW_TRACKING_URI"
    if os.environ.get(variable):
        return name, True, f"server of {variable}", ""
    if not path.exists():
        return name, True, "embedded SQLite (made by the first run)", ""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            result = connection.execute("pragma quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        result = str(error)
    seen = f"embedded SQLite, {path.stat().st_size / 2**20:.1f} MiB" + (
        "" if result == "ok" else f", damaged: {result}"
    )
    return name, result == "ok", seen, f"restore {path} from a backup, or move it away: runs start a new one"


def _cluster(workspace: Workspace, address: str) -> Iterator[Finding]:
    """The nodes as a run would have them."""
    try:
        require_ray()
        workspace.prepare()
        from tasks.runtime import ray_engine

        with ray_engine.connected(EngineConfig(kind="ray", address=address), workspace) as cluster:
            nodes = cluster.nodes
    except InputError as error:
        yield "cluster", False, error.problem, error.remedy
        return
    for node in nodes:
        yield "node", True, f"{node.host}: {node.cpus} CPUs for work, {node.memory / 2**30:.1f} GiB, {node.cpu}", ""
    kinds = {node.cpu for node in nodes}
    yield (
        "processors",
        len(kinds) == 1,
        "of one kind" if len(kinds) == 1 else f"of {len(kinds)} kinds: the same run gives other last digits on each",
        "give a run nodes of one kind, if its results are to be compared to the last digit",
    )
