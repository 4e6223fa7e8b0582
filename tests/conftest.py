"""Nothing leaves the machine, and nothing of the user's is touched."""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from freqd.serve import Recommender
    from tasks.mlops.champion import Registered

_names = (f"shop-{number}" for number in itertools.count())
_home = Path(tempfile.mkdtemp(prefix="freqd-tests-"))


def _tidy(home: Path, owner: int) -> None:
    """Remove the home of this process; a server that is just being stopped may write into it a moment longer."""
    for _ in range(20):
        if os.getpid() != owner or not home.exists():
            return
        shutil.rmtree(home, ignore_errors=True)
        time.sleep(0.1)


# before anything else is imported: what is registered first is called last, after Prefect has stopped its servers
atexit.register(_tidy, _home, os.getpid())

os.environ["PREFECT_HOME"] = str(_home / "prefect")
os.environ["PREFECT_RESULTS_LOCAL_STORAGE_PATH"] = str(_home / "prefect" / "results")
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{_home}/mlflow.db"
os.environ.pop("FREQD_WORKDIR", None)
if "FREQD_DATA_DIR" not in os.environ:
    _shared = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    if _shared.is_dir():
        os.environ["FREQD_DATA_DIR"] = str(_shared)

from tasks.runtime.environment import silence  # noqa: E402
from tests.shell import SMALL, User  # noqa: E402

silence()
# how long an example takes depends on what else the machine does
hypothesis_settings.register_profile("freqd", deadline=None)
hypothesis_settings.load_profile("freqd")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server of this test session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(scope="session")
def planted() -> Callable[..., pl.DataFrame]:
    """Purchases with a structure that a low-rank model can learn: groups of users like groups of items."""

    def make(users: int = 200, items: int = 120, groups: int = 6, per_user: int = 24, seed: int = 0) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        likes = rng.dirichlet(np.full(groups, 0.2), users)
        within = rng.dirichlet(np.full(items, 0.15), groups)
        rows = []
        for user in range(users):
            chosen = rng.choice(
                items, min(per_user, items // 2), replace=False, p=likes[user] @ within * 0.95 + 0.05 / items
            )
            rows += [(f"u{user:04d}", f"i{item:04d}") for item in chosen]
        frame = pl.DataFrame(rows, schema=["user", "item"], orient="row")
        return frame.with_columns(time=pl.Series(rng.integers(1_600_000_000, 1_610_000_000, len(frame))))

    return make


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """Planted purchases as a file."""
    path = tmp_path_factory.mktemp("data") / "purchases.csv"
    planted().write_csv(path)
    return path


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory of a module's own."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def purchases(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> Path:
    """A CSV file of planted purchases."""
    path = tmp_path / "purchases.csv"
    planted().write_csv(path)
    return path


@pytest.fixture
def user(tmp_path: Path, purchases: Path) -> Iterator[User]:
    """Somebody at a shell, with the planted purchases and small settings; their servers are stopped at the end."""
    (tmp_path / "small.toml").write_text(SMALL)
    somebody = User(tmp_path)
    yield somebody
    somebody("down")


def _binaries() -> Path | None:
    """The folder with PostgreSQL's server programs, on PATH or where a distribution keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    server = shutil.which("postgres")
    roots = [Path(server).resolve().parent] if server else []
    for base in ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt", "/usr/pgsql"):
        roots += sorted((path.parent for path in Path(base).glob("**/bin/initdb")), reverse=True)
    return next((root for root in roots if (root / "initdb").is_file() and (root / "postgres").is_file()), None)


def _unprivileged() -> str | None:
    """A user to become: the server refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of an empty PostgreSQL database on a server started for these tests."""
    programs = _binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server programs (initdb, postgres) on this machine")
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="freqd-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    options = {"user": user, "cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}}

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=60, **options)  # type: ignore[call-overload]

    call(str(programs / "initdb"), "-D", str(data), "-U", "freqd", "-A", "trust", "-E", "UTF8", "--no-sync")
    server = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    control = str(programs / "pg_ctl")
    call(control, "-D", str(data), "-o", server, "-w", "-t", "60", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql://freqd@127.0.0.1:{port}/postgres"
    finally:
        call(control, "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Register a recommender as the pipeline does, give it an alias, and return its version."""
    import mlflow

    from tasks.mlops import pyfunc_model

    client, place = mlflow.MlflowClient(), tmp_path_factory.mktemp("artifacts").as_uri()
    experiment = str(client.create_experiment(f"serving-{place[-12:]}", artifact_location=place))

    def do(name: str, content: Recommender, *, alias: str | None = "champion", spoil: bool = False) -> str:
        with tempfile.TemporaryDirectory() as folder, mlflow.start_run(experiment_id=experiment):
            content.write(Path(folder))
            if spoil:
                (Path(folder) / "features.safetensors").write_bytes(b"no features")
            info = mlflow.pyfunc.log_model(
                name="student",
                python_model=pyfunc_model.__file__,
                artifacts={"bundle": folder},
                pip_requirements=["numpy"],
            )
        version = str(mlflow.register_model(info.model_uri, name).version)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
        return version

    return do


@pytest.fixture
def shop(register: Callable[..., str]) -> Iterator[tuple[Registered, str]]:
    """A registered model of a test's own with one champion, and its version."""
    from mlflow import MlflowClient

    from tasks.mlops.champion import Registered
    from tests.serve.http.shop import make_recommender

    name = next(_names)
    version = register(name, make_recommender())
    yield Registered(name, "champion"), version
    MlflowClient().delete_registered_model(name)
