"""Content-addressed artifacts: written atomically, verified on reading, found again by what made them.

Layout below the store's root::

    artifacts/<kind>/<digest>/...files + manifest.json   # one folder an artifact
    index/<stage>/<key>.json                             # what a stage's key produced
    scratch/<stage>/<key>/                               # checkpoints of a stage that has not finished

An artifact's digest is the SHA-256 of its files' names and contents. Not part of it are the manifest, which says
what made the artifact, and the artifact's records, such as seconds, in which two equal results may differ; the
manifest keeps their digests, so that damage to them is noticed too. A folder is complete the moment it exists,
since it is renamed into place.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError

from freqd.errors import DamagedArtifactError
from freqd.json_types import JsonObject
from freqd.storage.files import MANIFEST, file_digest, folder_digest, storage_error, sync, temporary, write_atomic


class Artifact(Protocol):
    """What the store can keep: a type that knows its kind and how to write and read a folder.

    ``records`` names the files that tell how the artifact came to be rather than what it is.
    """

    kind: ClassVar[str]
    records: ClassVar[frozenset[str]]

    def write(self, folder: Path) -> None:
        """Write all files below ``folder``, which exists and is empty."""
        ...

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The artifact that ``write`` wrote."""
        ...


class ArtifactRef(BaseModel):
    """The only thing that passes between tasks: which artifact, not its content.

    ``uri`` is the folder where it was written. A store finds it by kind and digest, so that a working directory may be moved, and
    may have another path on another machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: str
    uri: str


class Manifest(BaseModel):
    """What made an artifact; one that no stage made has no settings.

    Attributes:
        kind, digest: of the artifact.
        records: digests of the files that are no part of ``digest``, by name.
        settings: what of the settings shaped it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    digest: str
    records: dict[str, str]
    settings: JsonObject = {}


A = TypeVar("A", bound=Artifact)


class Store:
    """The artifacts of one working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ref(self, kind: str, digest: str) -> ArtifactRef:
        """The artifact of this kind and digest, whether it is there or not."""
        return ArtifactRef(kind=kind, digest=digest, uri=str(self._folder(kind, digest)))

    def folder(self, ref: ArtifactRef) -> Path:
        """Where the artifact lies in this store."""
        return self._folder(ref.kind, ref.digest)

    def _folder(self, kind: str, digest: str) -> Path:
        return self.root / "artifacts" / kind / digest

    def save(self, artifact: Artifact, manifest: Mapping[str, object] | None = None) -> ArtifactRef:
        """Keep ``artifact``; saving the same content twice keeps one copy.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        base = self.root / "artifacts" / artifact.kind
        try:
            with temporary(base) as made:
                made.mkdir(parents=True)
                artifact.write(made)
                digest = folder_digest(made, artifact.records)
                records = {name: file_digest(made / name) for name in sorted(artifact.records)}
                meta = {"kind": artifact.kind, "digest": digest, "records": records, **(manifest or {})}
                (made / MANIFEST).write_text(json.dumps(meta, indent=1, sort_keys=True, default=str))
                sync(made)
                self._place(made, self.ref(artifact.kind, digest))
        except OSError as error:
            raise storage_error(error, base) from error
        except SafetensorError as error:  # its way of saying that a file cannot be written
            raise storage_error(OSError(str(error)), base) from error
        return self.ref(artifact.kind, digest)

    def _place(self, made: Path, ref: ArtifactRef) -> None:
        """Give a complete folder its name; a whole artifact that is there stays, a damaged one is moved aside first.

        Several processes may place the same artifact at once: each finds either its own or another's whole one.
        """
        folder = self.folder(ref)
        while True:
            try:
                made.rename(folder)
                return
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise
            try:
                self.verify(ref)
                return
            except DamagedArtifactError:
                with temporary(folder.parent, ending="old") as aside, contextlib.suppress(FileNotFoundError):
                    folder.rename(aside)  # which another process may have done

    def open(self, ref: ArtifactRef, kind: type[A]) -> A:
        """Read an artifact after checking its bytes against its digest.

        Raises:
            DamagedArtifactError: a file is missing or has changed.
        """
        self.verify(ref)
        return kind.read(self.folder(ref))

    def verify(self, ref: ArtifactRef) -> None:
        """Raise ``DamagedArtifactError`` unless the artifact is there, whole and unchanged."""
        try:
            records = self.manifest(ref).records
            whole = folder_digest(self.folder(ref), records) == ref.digest
            whole = whole and all(file_digest(self.folder(ref) / name) == digest for name, digest in records.items())
        except (OSError, ValueError):
            whole = False
        if not whole:
            raise DamagedArtifactError(
                f"{ref.kind} {ref.digest[:12]} at {self.folder(ref)} is missing or was changed since it was written"
            )

    def manifest(self, ref: ArtifactRef) -> Manifest:
        """What made the artifact.

        Raises:
            OSError: it is not there.
            ValueError: it is damaged.
        """
        return Manifest.model_validate_json((self.folder(ref) / MANIFEST).read_text())

    # -- what a stage made ------------------------------------------------------------------------

    def _entry(self, stage: str, key: str) -> Path:
        return self.root / "index" / stage / f"{key}.json"

    def record(self, stage: str, key: str, entry: Mapping[str, object]) -> None:
        """Remember what ``stage`` produced for ``key``: its refs and what a later run wants to show."""
        try:
            write_atomic(self._entry(stage, key), json.dumps(entry, indent=1, default=str))
        except OSError as error:
            raise storage_error(error, self.root) from error

    def recall(self, stage: str, key: str) -> JsonObject | None:
        """What ``record`` kept for this key, or None. An unreadable entry counts as none."""
        path = self._entry(stage, key)
        if not path.is_file():
            return None
        try:
            entry: JsonObject = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None
        return entry

    def scratch(self, stage: str, key: str) -> Path:
        """Folder for the checkpoints of an unfinished stage; ``clear_scratch`` when it is done."""
        folder = self.root / "scratch" / stage / key
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, folder) from error
        return folder

    def clear_scratch(self, stage: str, key: str) -> None:
        """Forget the checkpoints of a finished stage."""
        shutil.rmtree(self.root / "scratch" / stage / key, ignore_errors=True)


@dataclass(frozen=True)
class Facts:
    """Plain numbers and texts that a stage found, kept like any other artifact.

    Attributes:
        values: what was found.
        measured: seconds and the like, which differ from one equal result to the next.
    """

    kind: ClassVar[str] = "facts"
    records: ClassVar[frozenset[str]] = frozenset({"measured.json"})

    values: JsonObject
    measured: JsonObject = field(default_factory=dict)

    @classmethod
    def of(cls, values: BaseModel, measured: BaseModel | None = None) -> Facts:
        """Those of a model of pydantic, which ``model_validate`` makes of them again."""
        return cls(values.model_dump(), {} if measured is None else measured.model_dump())

    def write(self, folder: Path) -> None:
        """Write ``facts.json`` and ``measured.json``."""
        (folder / "facts.json").write_text(json.dumps(self.values, sort_keys=True))
        (folder / "measured.json").write_text(json.dumps(self.measured, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """Read what ``write`` wrote."""
        return cls(json.loads((folder / "facts.json").read_text()), json.loads((folder / "measured.json").read_text()))
