from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freqd.config import DataConfig
from freqd.data import Split, ingest


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Split]:
    """``ingest`` with a seed, no data folder and a cache of its own."""

    def call(config: DataConfig, **options: object) -> Split:
        settings: dict[str, object] = {"seed": 0, "data_dir": None, "cache_dir": tmp_path / "cache", **options}
        return ingest(config, **settings)  # type: ignore[arg-type]

    return call


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
