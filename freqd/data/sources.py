"""From settings to files: which files hold which part, under which name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from freqd.config import ColumnConfig, DataConfig, RunConfig
from freqd.data import catalog, postgres
from freqd.data.files import DataFile
from freqd.data.layout import Layout
from freqd.data.recognise import find_files, one_format
from freqd.errors import InputError
from freqd.progress import Progress, silent
from freqd.storage.files import file_digest, text_digest

ALL = catalog.ALL


@dataclass(frozen=True)
class Places:
    """Where data are looked for and kept.

    Attributes:
        data_dir: where named data sets are looked for first; None: nowhere.
        cache_dir: where downloads and the rows of a query go.
    """

    data_dir: Path | None
    cache_dir: Path


@dataclass(frozen=True)
class Source:
    """Where the interactions of a run are.

    Attributes:
        name: short name, for the model's name and for reports.
        labels: what the user asked for.
        files: by part (train, valid, test), or all under ``interactions``.
        columns: the user's column mapping over that of the named data set.
        snapshot: the rows of a query, to be discarded after use.
    """

    name: str
    labels: tuple[str, ...]
    files: dict[str, list[DataFile]]
    columns: ColumnConfig
    snapshot: postgres.Snapshot | None = None

    @property
    def has_parts(self) -> bool:
        """Whether the owner's own splits are there."""
        return ALL not in self.files

    def all_files(self) -> list[DataFile]:
        """The files of all parts."""
        return [file for files in self.files.values() for file in files]

    def digest(self) -> str:
        """SHA-256 over the files' contents, their parts and columns; names and order of the files do not matter."""
        columns = self.columns.model_dump_json()
        if self.snapshot is not None:
            return text_digest("sql", self.snapshot.digest, columns)
        found = {part: sorted(file_digest(file.path) for file in files) for part, files in self.files.items()}
        return text_digest(*(f"{part}={digest}" for part in sorted(found) for digest in found[part]), columns)


def open_source(config: DataConfig, places: Places, *, reuse: bool, progress: Progress = silent) -> Source:
    """Find (or fetch) the files of ``config``; a query replaces parts, parts replace ``source``.

    Args:
        config: the settings.
        places: where data are looked for and kept.
        reuse: a query's rows fetched a short while ago are taken again.
        progress: called during downloads.

    Raises:
        InputError: something is missing, empty, mixed or damaged.
    """
    source = _open(config, places, reuse, progress)
    one_format(source.all_files())
    if source.snapshot is not None:
        return source
    header = not source.columns.by_position
    files = {
        part: [replace(file, header=header, quotes=config.quotes) for file in found]
        for part, found in source.files.items()
    }
    return replace(source, files=files)


def _open(config: DataConfig, places: Places, reuse: bool, progress: Progress) -> Source:
    if config.sql is not None:
        cache_dir = places.cache_dir
        snapshot = postgres.fetch_rows(config.sql, config.database_url_env, cache_dir, reuse=reuse, progress=progress)
        file = DataFile(snapshot.path, "text", ",", "the query of data.sql", quotes="fields")
        return Source("sql", ("sql",), {ALL: [file]}, config.columns, snapshot)
    if config.train is not None and config.test is not None:
        given = {"train": config.train, "valid": config.valid, "test": config.test}
        paths = {part: path for part, path in given.items() if path is not None}
        files = {part: find_files(path, config.text_layout) for part, path in paths.items()}
        return Source(_stem(config.train), tuple(paths.values()), files, config.columns)
    names = [name for name in config.source if name in catalog.CATALOG and not Path(name).is_file()]
    if names and len(config.source) > 1:
        raise InputError(f"the named data set '{names[0]}' cannot be combined with other sources", "give it alone")
    if names:
        located = catalog.find(names[0], places.data_dir, places.cache_dir, progress)
        by_part = {part: [file] for part, file in located.files.items()}
        wanted = config.columns.model_dump(exclude_none=True)
        return Source(names[0], (names[0],), by_part, located.named.columns.model_copy(update=wanted))
    found = [file for pattern in config.source for file in _files_or_hint(pattern, config.text_layout)]
    different = {file.path.resolve(): file for file in found}
    return Source(_stem(config.source[0]), config.source, {ALL: list(different.values())}, config.columns)


def _files_or_hint(pattern: str, layout: Layout | None = None) -> list[DataFile]:
    path = Path(pattern).expanduser()
    bare = path.suffix == "" and len(path.parts) == 1 and not any(mark in pattern for mark in "*?[")
    if bare and not path.exists():
        close = get_close_matches(pattern.lower(), catalog.CATALOG, n=1, cutoff=0.5)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise InputError(
            f"'{pattern}' is neither a file nor a named data set{hint}",
            f"give a path, or one of {', '.join(catalog.CATALOG)}",
        )
    return find_files(pattern, layout)


def _stem(pattern: str) -> str:
    """A name made of a path: its last part that is not a pattern, without suffixes."""
    parts = [part for part in Path(pattern).parts if not any(mark in part for mark in "*?[")]
    stem = (parts[-1] if parts else "data").split(".")[0].lower()
    return "".join(c if c.isalnum() else "-" for c in stem).strip("-") or "data"


def name_of(config: DataConfig) -> str:
    """The name that ``open_source`` would give the source, without opening anything."""
    if config.sql is not None:
        return "sql"
    return _stem(config.train or config.source[0])


def labels_of(config: DataConfig) -> list[str]:
    """What the user asked for, as a list."""
    if config.sql is not None:
        return ["sql"]
    parts = [path for path in (config.train, config.valid, config.test) if path is not None]
    return parts or list(config.source)


def require_source(config: RunConfig, place: str) -> None:
    """See that the settings say which data they are for: nothing that runs by itself may fall back to the built-in ones.

    Raises:
        InputError: they do not.
    """
    said = config.data.model_fields_set if "data" in config.model_fields_set else set()
    if not said & {"source", "train", "sql"}:
        raise InputError(f"{place} names no data", 'name them, in a settings file by [data] source = ["FILE"]')


def anchored(config: RunConfig, folder: Path) -> RunConfig:
    """The settings with absolute paths, relative ones being those of ``folder``: a run may start in another one."""

    def full(path: str | None) -> str | None:
        return None if path is None else str((folder / Path(path).expanduser()).absolute())

    source = tuple(name if name in catalog.CATALOG else str(full(name)) for name in config.data.source)
    parts = {part: full(getattr(config.data, part)) for part in ("train", "valid", "test", "items")}
    data = config.data.model_copy(update={"source": source, **parts})
    teacher = config.teacher.model_copy(
        update={name: full(getattr(config.teacher, name)) for name in ("features", "lists")}
    )
    return config.model_copy(update={"data": data, "teacher": teacher})


def timeless(config: DataConfig) -> str | None:
    """The source's name if settings and catalogue already say that it has no times. Nothing is read."""
    if config.columns.time == "none":
        return name_of(config)
    named = catalog.CATALOG.get(config.source[0]) if config.sql is None and config.train is None else None
    if named is None or named.time or config.columns.time is not None or Path(named.name).is_file():
        return None
    return named.name


def own_bytes(config: DataConfig) -> int:
    """Bytes of the user's own files; 0 for a query or a named data set. Nothing is read.

    Raises:
        InputError: a file is missing, empty or unreadable, or a name is unknown.
    """
    if config.sql is not None:
        return 0
    given = [path for path in (config.train, config.valid, config.test) if path is not None]
    if given:
        found = [file for pattern in given for file in find_files(pattern)]
    else:
        names = [name for name in config.source if name not in catalog.CATALOG or Path(name).is_file()]
        found = [file for name in names for file in _files_or_hint(name)]
    return sum(file.path.stat().st_size for file in found)
