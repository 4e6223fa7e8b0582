"""The working directory: where each thing of a run lies."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from freqd.data.ids import IdRegistry
from freqd.data.sources import Places
from freqd.errors import InputError
from freqd.pseudonym import secret_of
from freqd.storage.files import storage_error
from freqd.storage.store import Store

MIN_FREE_BYTES = 200 * 2**20
IN_USE = ".in-use"
"""A file that every run holds a shared lock of."""


@dataclass(frozen=True)
class Workspace:
    """Everything that freqd writes lies below ``root``, an absolute path.

    Layout: ``store/`` artifacts and checkpoints, ``runs/NAME/`` summary, report and settings of each run,
    ``comparisons/NAME/``, ``tuned/NAME/`` and ``cadences/NAME/`` those of `freqd compare`, `freqd tune` and `freqd cadence`,
    ``drift/MODEL/`` drift checks, ``events/MODEL/`` what users did with recommendations,
    ``ids/`` the id maps that survive runs, ``downloads/`` named data sets, ``prefect/`` and ``mlflow/`` embedded stores,
    ``salt`` of the users' pseudonyms.
    """

    root: Path

    @classmethod
    def locate(cls, workdir: str | Path | None) -> Workspace:
        """The workspace of ``--workdir``, else of ``FREQD_WORKDIR``, else ``freqd-work`` in the current folder.

        Raises:
            InputError: its path has a character that no database's address can hold.
        """
        root = Path(workdir or os.environ.get("FREQD_WORKDIR") or "freqd-work").expanduser().absolute()
        odd = sorted({character for character in str(root) if character in "?#%" or ord(character) < 32})
        if odd:
            raise InputError(
                f"the working directory {str(root)!r} has {' and '.join(map(repr, odd))} in its path, which the addresses of databases "
                "cannot hold",
                "name another one with --workdir (or FREQD_WORKDIR)",
            )
        return cls(root)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the working directory if it is not there, for a run that may find that its input is wrong.

        Then, if this run made it, no stage has finished in it and nobody else is at work in it, it is removed again. What is
        above it, and what anybody else made, is never touched.

        Raises:
            InputError: as ``prepare``.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            made = _make(self.root)
        except OSError as error:
            raise storage_error(error, self.root) from error
        try:
            self.prepare()
        except InputError:
            if made:
                with suppress(OSError):
                    self.root.rmdir()  # which refuses if anything is in it
            raise
        with (self.root / IN_USE).open("w") as mark:
            fcntl.flock(mark, fcntl.LOCK_SH)
            try:
                yield
            except InputError:
                if made and self._untouched(mark):
                    shutil.rmtree(self.root, ignore_errors=True)
                raise

    def _untouched(self, mark: IO[str]) -> bool:
        """Whether no stage has finished here and no other process is at work."""
        if any((self.store.root / "index").glob("*/*.json")) or any((self.store.root / "artifacts").glob("*/*")):
            return False
        if any(any(folder.glob("*")) for folder in (self.runs, self.drift, self.root / "tuned", self.root / "stack")):
            return False
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def prepare(self) -> None:
        """Create the root and prove that it can be written.

        Raises:
            InputError: it cannot be made or written, or the disk is nearly full.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            _make(self.root)
            probe, name = tempfile.mkstemp(prefix=".writable-", dir=self.root)
            os.close(probe)
            Path(name).unlink()
            stats = os.statvfs(self.root)
        except OSError as error:
            raise storage_error(error, self.root) from error
        free = stats.f_bavail * stats.f_frsize
        if free < MIN_FREE_BYTES:
            raise InputError(
                f"only {free / 2**20:.0f} MiB are free below {self.root}, a run needs {MIN_FREE_BYTES / 2**20:.0f} MiB or more",
                "free some space, or name another working directory with --workdir (or FREQD_WORKDIR)",
            )

    @property
    def store(self) -> Store:
        """Artifacts and checkpoints."""
        return Store(self.root / "store")

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    def events_of(self, model: str) -> Path:
        """What users did with recommendations of a registered model, as `freqd serve` keeps it."""
        return self.root / "events" / quote(model, safe="")

    @property
    def drift(self) -> Path:
        """One folder a model with its drift checks, a JSON file each."""
        return self.root / "drift"

    @property
    def downloads(self) -> Path:
        """Named data sets that were downloaded."""
        return self.root / "downloads"

    @property
    def data_dir(self) -> Path | None:
        """The user's mirror of named data sets, ``FREQD_DATA_DIR``."""
        value = os.environ.get("FREQD_DATA_DIR")
        return Path(value).expanduser().absolute() if value else None

    @property
    def places(self) -> Places:
        """Where data are looked for and kept."""
        return Places(self.data_dir, self.downloads)

    def ids(self, name: str) -> IdRegistry:
        """The id maps of the data set ``name``."""
        return IdRegistry(self.root / "ids" / name)

    @property
    def salt(self) -> bytes:
        """What pseudonyms of users are made with; made when it is asked for first."""
        return secret_of(self.root / "salt")

    @property
    def prefect_home(self) -> Path:
        """Prefect's database and results."""
        return self.root / "prefect"

    @property
    def mlflow_home(self) -> Path:
        """MLflow's database and artifacts."""
        return self.root / "mlflow"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's embedded store."""
        return f"sqlite:///{self.mlflow_home}/mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.mlflow_home / "artifacts"


def _make(folder: Path) -> bool:
    """Make a folder that its owner alone may read, unless it is there; whether it was made."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True
