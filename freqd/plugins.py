"""What is known by name, objectives and kinds of teachers: built in, from a Python file, or from an installed package.

A plugin is code. So it is named only by who is at the keyboard, on the command line or in a settings file on this machine, or is
installed as a package with entry points; never by a setting of a run, which a form or the API can send.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from freqd.errors import InputError
from freqd.storage.files import file_digest, text_digest

T = TypeVar("T")
HELP = "docs/extending.md shows one that works"


@dataclass(frozen=True)
class Plugin:
    """Where something that is not built in comes from.

    Attributes:
        place: path of the file, or name and version of the package.
        digest: SHA-256 of the file, or over all Python files of the package.
        file: the file; None of a package.
    """

    place: str
    digest: str
    file: Path | None = None


@dataclass(frozen=True)
class Entry(Generic[T]):
    """Something by its name, and the module that it was written in."""

    value: T
    module: str


class Registry(Mapping[str, T], Generic[T]):
    """All of one sort by name. What an installed package provides is imported when its name is asked for, and not to list names.

    Attributes:
        sort: what they are, for messages.
        group: entry points of packages that provide them; the name of an entry point is the name here.
        entries: those that were imported, by name.
    """

    def __init__(self, sort: str, group: str) -> None:
        self.sort, self.group = sort, group
        self.entries: dict[str, Entry[T]] = {}
        _REGISTRIES.append(self)

    def enter(self, name: str, value: T, module: str) -> None:
        """Make it known; what was written in a notebook's cell gives way to what the same cell says now.

        Raises:
            ValueError: the name is taken.
        """
        if name in self.entries and not self.entries[name].module == module == "__main__":
            other = _FILES[module].place if module in _FILES else module
            raise ValueError(f"two {self.sort}s are named {name!r}: one {self.origin(name)}, and one from {other}")
        self.entries[name] = Entry(value, module)

    def __getitem__(self, name: str) -> T:
        """What has that name.

        Raises:
            KeyError: nothing has.
            InputError: the package that provides it is broken, or more than one does.
        """
        claims = _installed(self.group).get(name, ())
        if name not in self.entries:
            if not claims:
                raise KeyError(name)
            self._import(name, claims[0])
        entry = self.entries[name]
        for claim in claims:
            if _top(claim.module) != _top(entry.module):
                raise InputError(
                    f"two {self.sort}s are named {name!r}: one {self._place(entry)}, and one from {_package(claim)}",
                    f"uninstall that package, or give its {self.sort} another name",
                )
        return entry.value

    def __iter__(self) -> Iterator[str]:
        return iter({**self.entries, **_installed(self.group)})

    def __len__(self) -> int:
        return len({**self.entries, **_installed(self.group)})

    def origin(self, name: str) -> str:
        """Where it comes from, in words; nothing is imported."""
        if name in self.entries:
            return self._place(self.entries[name])
        return " and ".join(f"from {_package(claim)}" for claim in _installed(self.group)[name])

    def _place(self, entry: Entry[T]) -> str:
        if _top(entry.module) == "freqd":
            return "built in"
        if entry.module in _FILES:
            return f"from {_FILES[entry.module].place}"
        claims = (claim for found in _installed(self.group).values() for claim in found)
        packages = (_package(claim) for claim in claims if _top(claim.module) == _top(entry.module))
        return f"from {next(packages, entry.module)}"

    def plugin(self, name: str) -> Plugin | None:
        """The plugin that provides it; None if it is built in or unknown."""
        if name not in self or _top(module := self.entries[name].module) == "freqd":
            return None
        if module in _FILES:
            return _FILES[module]
        return Plugin(self.origin(name).removeprefix("from "), _package_digest(_top(module)))

    def plugins(self, names: Iterable[str]) -> dict[str, Plugin]:
        """The plugins of those names that are not built in."""
        found = {name: self.plugin(name) for name in sorted(set(names))}
        return {name: plugin for name, plugin in found.items() if plugin is not None}

    def _import(self, name: str, claim: EntryPoint) -> None:
        try:
            claim.load()
        except Exception as error:
            self.forget(claim.module)
            raise InputError(
                f"the package {_package(claim)} provides the {self.sort} {name!r}, and is broken: {_told(error)}",
                f"repair or uninstall the package; {HELP}",
            ) from error
        if name not in self.entries:
            raise InputError(
                f"the package {_package(claim)} says that it provides the {self.sort} {name!r}, and does not",
                f"its entry point names the module or the class that is registered under that name; {HELP}",
            )

    def forget(self, module: str) -> None:
        """Take out what a module entered before it failed."""
        self.entries = {name: entry for name, entry in self.entries.items() if entry.module != module}


_REGISTRIES: list[Registry[Any]] = []
_FILES: dict[str, Plugin] = {}
"""The files that were loaded, by the name of their module."""


def load_files(paths: Iterable[Path]) -> None:
    """Import Python files, which enter their objectives and teachers; the same content is imported once.

    Raises:
        InputError: a file cannot be read, or fails; the message names file and line.
    """
    for path in paths:
        _load_file(path.expanduser())


def loaded_files() -> list[Path]:
    """The Python files that were imported, for another process to import."""
    return [plugin.file for plugin in _FILES.values() if plugin.file is not None]


def _load_file(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the plugin {path} cannot be read: {error.strerror}", "check the path") from error
    digest = hashlib.sha256(content).hexdigest()
    name = f"freqd_plugin_{digest[:16]}"
    if name in _FILES:
        return
    module = module_from_spec(ModuleSpec(name, None, origin=str(path)))
    module.__file__ = str(path)
    _FILES[name] = Plugin(str(path), digest, path.absolute())
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except Exception as error:
        for registry in _REGISTRIES:
            registry.forget(name)
        del sys.modules[name], _FILES[name]
        raise InputError(f"the plugin {_told(error, str(path))}", f"correct the file; {HELP}") from error


def _told(error: Exception, file: str | None = None) -> str:
    """An error with file and line: in ``file`` if it went through it, else where it was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"


@cache
def _installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; nothing is imported."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in importlib.metadata.entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.module


@cache
def _package_digest(top: str) -> str:
    """SHA-256 over names and contents of the Python files of an imported package or module."""
    module = sys.modules[top]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*.py")]
    if not folders and getattr(module, "__file__", None):
        files = [("", Path(str(module.__file__)))]
    return text_digest(*(f"{name}={file_digest(path)}" for name, path in sorted(files)))


def _top(module: str) -> str:
    return module.partition(".")[0]
