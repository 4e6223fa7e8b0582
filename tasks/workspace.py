"""The working directory: where each thing of a run lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from freqd.data.ids import IdRegistry
from freqd.errors import InputError
from freqd.pseudonym import salt_of
from freqd.store import Store, storage_error

MIN_FREE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Workspace:
    """Everything that freqd writes lies below ``root``, an absolute path.

    Layout: ``store/`` artifacts and checkpoints, ``runs/NAME/`` summary, report and settings of each run,
    ``comparisons/NAME/``, ``tuned/NAME/`` and ``cadences/NAME/`` those of `freqd compare`, `freqd tune` and `freqd cadence`,
    ``drift/MODEL/`` drift checks,
    ``ids/`` the id maps that survive runs, ``downloads/`` named data sets, ``prefect/`` and ``mlflow/`` embedded stores,
    ``salt`` of the users' pseudonyms.
    """

    root: Path

    @classmethod
    def locate(cls, workdir: str | Path | None) -> Workspace:
        """The workspace of ``--workdir``, else of ``FREQD_WORKDIR``, else ``freqd-work`` in the current folder."""
        return cls(Path(workdir or os.environ.get("FREQD_WORKDIR") or "freqd-work").expanduser().absolute())

    def prepare(self) -> None:
        """Create the root and prove that it can be written.

        Raises:
            InputError: it cannot be made or written, or the disk is nearly full.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / ".writable"
            probe.write_text("")
            probe.unlink()
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

    def ids(self, name: str) -> IdRegistry:
        """The id maps of the data set ``name``."""
        return IdRegistry(self.root / "ids" / name)

    @property
    def salt(self) -> bytes:
        """What pseudonyms of users are made with; made when it is asked for first."""
        return salt_of(self.root / "salt")

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
