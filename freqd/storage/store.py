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
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError

from freqd.errors import DamagedArtifact, InputError

MANIFEST = "manifest.json"


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
    """The only thing that passes between tasks: which artifact, not its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: str
    uri: str

    @property
    def path(self) -> Path:
        """The artifact's folder."""
        return Path(self.uri)


A = TypeVar("A", bound=Artifact)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(*parts: str) -> str:
    """SHA-256 of texts, each with its length, so that no two lists of texts collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def folder_digest(folder: Path, leave_out: Iterable[str] = ()) -> str:
    """SHA-256 over the names and contents of all files below ``folder`` but its manifest and those left out."""
    others = {MANIFEST, *leave_out}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in others)
    return text_digest(*(f"{p.relative_to(folder).as_posix()}={file_digest(p)}" for p in files))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


class Store:
    """The artifacts of one working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ref(self, kind: str, digest: str) -> ArtifactRef:
        """The artifact of this kind and digest, whether it is there or not."""
        return ArtifactRef(kind=kind, digest=digest, uri=str(self.root / "artifacts" / kind / digest))

    def save(self, artifact: Artifact, manifest: Mapping[str, Any] | None = None) -> ArtifactRef:
        """Keep ``artifact``; saving the same content twice keeps one copy.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        base = self.root / "artifacts" / artifact.kind
        temporary = base / f".{uuid.uuid4().hex}.tmp"
        try:
            temporary.mkdir(parents=True)
            artifact.write(temporary)
            digest = folder_digest(temporary, artifact.records)
            records = {name: file_digest(temporary / name) for name in sorted(artifact.records)}
            meta = {"kind": artifact.kind, "digest": digest, "records": records, **(manifest or {})}
            (temporary / MANIFEST).write_text(json.dumps(meta, indent=1, sort_keys=True, default=str))
            _sync_tree(temporary)
            self._place(temporary, self.ref(artifact.kind, digest))
        except OSError as error:
            raise storage_error(error, base) from error
        except SafetensorError as error:  # its way of saying that a file cannot be written
            raise storage_error(OSError(str(error)), base) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.ref(artifact.kind, digest)

    def _place(self, made: Path, ref: ArtifactRef) -> None:
        """Give a complete folder its name; a whole artifact that is there stays, a damaged one is moved aside first.

        Several processes may place the same artifact at once: each finds either its own or another's whole one.
        """
        while True:
            try:
                made.rename(ref.path)
                return
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise
            try:
                self.verify(ref)
                return
            except DamagedArtifact:
                aside = ref.path.with_name(f".{uuid.uuid4().hex}.old")
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    ref.path.rename(aside)
                _remove(aside)

    def open(self, ref: ArtifactRef, kind: type[A]) -> A:
        """Read an artifact after checking its bytes against its digest.

        Raises:
            DamagedArtifact: a file is missing or has changed.
        """
        self.verify(ref)
        return kind.read(ref.path)

    def verify(self, ref: ArtifactRef) -> None:
        """Raise ``DamagedArtifact`` unless the artifact is there, whole and unchanged."""
        try:
            records = self.manifest(ref)["records"]
            whole = folder_digest(ref.path, records) == ref.digest
            whole = whole and all(file_digest(ref.path / name) == digest for name, digest in records.items())
        except (OSError, ValueError, KeyError):
            whole = False
        if not whole:
            raise DamagedArtifact(
                f"{ref.kind} {ref.digest[:12]} at {ref.path} is missing or was changed since it was written"
            )

    def manifest(self, ref: ArtifactRef) -> dict[str, Any]:
        """What made the artifact."""
        manifest: dict[str, Any] = json.loads((ref.path / MANIFEST).read_text())
        return manifest

    # -- what a stage made ------------------------------------------------------------------------

    def _entry(self, stage: str, key: str) -> Path:
        return self.root / "index" / stage / f"{key}.json"

    def record(self, stage: str, key: str, entry: Mapping[str, Any]) -> None:
        """Remember what ``stage`` produced for ``key``: its refs and what a later run wants to show."""
        try:
            write_atomic(self._entry(stage, key), json.dumps(entry, indent=1, default=str))
        except OSError as error:
            raise storage_error(error, self.root) from error

    def recall(self, stage: str, key: str) -> dict[str, Any] | None:
        """What ``record`` kept for this key, or None. An unreadable entry counts as none."""
        path = self._entry(stage, key)
        if not path.is_file():
            return None
        try:
            entry: dict[str, Any] = json.loads(path.read_text())
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


_OTHER_PLACE = "name another place (--workdir or FREQD_WORKDIR for the working directory)"
_REMEDIES = {
    errno.ENOSPC: f"free some space, or {_OTHER_PLACE}",
    errno.EDQUOT: f"free some of your quota, or {_OTHER_PLACE}",
    errno.EROFS: f"the file system is read-only: {_OTHER_PLACE}",
    errno.EACCES: f"see who owns it and whether you may write there, or {_OTHER_PLACE}",
    errno.EPERM: f"see who owns it and whether you may write there, or {_OTHER_PLACE}",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: f"a part of the path is a file: {_OTHER_PLACE}",
    errno.EISDIR: "a folder is in its place: give another name, or move it away",
    errno.EEXIST: "something of that name is in its place: give another name, or move it away",
    errno.EIO: f"look at the disk (dmesg), or {_OTHER_PLACE}",
}


def storage_error(error: OSError, place: Path) -> InputError:
    """The error a user sees when the disk is full or the place cannot be written."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, f"see whether it is there and can be written, or {_OTHER_PLACE}")
    return InputError(f"cannot write below {place}: {reason}", remedy)


@dataclass(frozen=True)
class Facts:
    """Plain numbers and texts that a stage found, kept like any other artifact.

    Attributes:
        values: what was found, JSON-able.
        measured: seconds and the like, which differ from one equal result to the next, JSON-able.
    """

    kind: ClassVar[str] = "facts"
    records: ClassVar[frozenset[str]] = frozenset({"measured.json"})

    values: dict[str, Any]
    measured: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``facts.json`` and ``measured.json``."""
        (folder / "facts.json").write_text(json.dumps(self.values, sort_keys=True))
        (folder / "measured.json").write_text(json.dumps(self.measured, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Facts:
        """Read what ``write`` wrote."""
        return cls(json.loads((folder / "facts.json").read_text()), json.loads((folder / "measured.json").read_text()))
