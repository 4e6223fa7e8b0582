"""What made a result: digests of code and packages, git state, machine."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from freqd.storage.files import text_digest

UNHASHED = frozenset(
    {
        *(
            "freqd.config",
            *(f"freqd.config.{name}" for name in ("base", "data", "models", "analysis", "operations", "plans", "run")),
        ),
        *(
            "freqd.errors",
            "freqd.json_types",
            "freqd.plugins",
            "freqd.progress",
            "freqd.provenance",
            "freqd.storage",
            "freqd.storage.store",
        ),
    }
)
"""Modules whose text does not shape a result: settings enter a key by their values, the others only carry."""

FOLLOWED = ("freqd", "tasks.stages.", "tasks.experiments.")
"""Where the code lies that shapes results."""

SOURCE_ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages freqd, tasks and flows."""

PACKAGES = ("freqd", "implicit", "mlflow", "numba", "numpy", "polars", "prefect", "scipy", "torch")


def code_digest(modules: Iterable[str]) -> str:
    """Digest of the code of ``modules`` and of what they import of freqd and of ``FOLLOWED``, however deep.

    A name that ends in ``.*`` stands for a package with all that lies in it, and so does a package that imports all its
    modules by itself (``pkgutil``). Comments, docstrings and layout do not count: two texts with the same syntax tree
    give the same digest. Nothing is imported.

    Raises:
        ModuleNotFoundError: one of ``modules`` is not below the source root.
    """
    seen: dict[str, str] = {}
    pending = [found for name in modules for found in _expand(name)]
    while pending:
        name = pending.pop()
        if name in seen or name in UNHASHED:
            continue
        seen[name], imports = _module(name)
        pending += imports
    return text_digest(*(f"{name}={seen[name]}" for name in sorted(seen)))


def _expand(name: str) -> list[str]:
    package = name.removesuffix(".*")
    if package == name:
        return [name]
    folder = SOURCE_ROOT / package.replace(".", "/")
    files = sorted(folder.rglob("*.py"))
    return [".".join(f.relative_to(SOURCE_ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]


def _source(name: str) -> Path | None:
    """The file of a module below the source root, or None."""
    base = SOURCE_ROOT / name.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """(digest of the syntax tree without docstrings, names of the modules of freqd that it imports)."""
    path = _source(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name!r} below {SOURCE_ROOT} to take the digest of")
    tree = ast.parse(path.read_text())
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports.add(node.module)
            imports.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                first.value.value = ""
        elif isinstance(node, ast.Attribute) and node.attr == "iter_modules":
            imports.update(_expand(f"{name}.*"))
    found = tuple(sorted(m for m in imports if m.startswith(FOLLOWED) and _source(m) is not None and m != name))
    return text_digest(ast.dump(tree)), found


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that shape a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def lock_digest() -> str:
    """Digest of the names and versions of all installed packages."""
    names = {f"{d.metadata['Name']}=={d.version}".lower() for d in importlib.metadata.distributions()}
    return text_digest(*sorted(names))


@cache
def git_state() -> str:
    """Commit of freqd's own checkout, with ``+changes`` if files differ; empty for an installed package."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(SOURCE_ROOT), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != SOURCE_ROOT:
            return ""
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Environment(BaseModel):
    """Python, packages and machine, as ``freqd.provenance.environment`` tells them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    packages: dict[str, str]
    lock_digest: str
    git: str


def environment() -> Environment:
    """Python, packages and machine, for the summary."""
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        packages=versions(),
        lock_digest=lock_digest(),
        git=git_state(),
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
