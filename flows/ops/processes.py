"""Processes of the stack: started with a log, waited for, looked at, ended with all that they started."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from freqd.errors import FreqdError, InputError
from tasks.runtime.server_state import Stack

HOST = "127.0.0.1"
START_SECONDS = 90.0
STOP_SECONDS = 15.0
PRIVATE = 0o077
"""Umask of all that freqd starts: what it writes is its owner's alone."""
LOG_BYTES = 50 * 2**20


class StackError(FreqdError):
    """The servers could not be started or stopped, for a reason that lies not in the user's input."""


def launch(log: Path, command: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which writes to ``log``; a log that is too long is put aside first.

    Args:
        log: the file.
        command: program and arguments.
        environment: all of it.
        folder: in which it works.
    """
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as file:
        file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} started\n".encode())
        file.flush()
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE,
        )


def wait(name: str, process: subprocess.Popen[bytes], healthy: Callable[[], bool], log: Path) -> None:
    """Wait until a process answers.

    Args:
        name: of the process.
        process: that was started.
        healthy: whether it answers.
        log: where it writes.

    Raises:
        StackError: it ended, or does not answer in ``START_SECONDS``.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            problem = f"{name} ended with code {process.returncode}"
            break
        if healthy():
            return
        time.sleep(0.3)
    else:
        problem = f"{name} is not healthy after {START_SECONDS:.0f} s"
    raise StackError(f"{problem}; the last lines of {log}:\n" + "\n".join(tail(log, 12)))


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; none if there is no log."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * lines - 1))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def answers(url: str) -> bool:
    """Whether a server on this machine answers with 200. No proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def require_free(name: str, port: int) -> None:
    """See that nobody listens on a port.

    Raises:
        InputError: somebody does; who, as far as this user may know.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} for {name} is not available: {_holder(port) or error.strerror}",
                f"name another one with --{name}-port, or stop what listens there",
            ) from error


def _holder(port: int) -> str | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid}) listens there"
    except psutil.Error:
        return None
    return None


def memory_of(pid: int) -> int:
    """Resident bytes of a process and all that it started."""
    total = 0
    for process in _family(pid):
        try:
            total += int(process.memory_info().rss)
        except psutil.Error:
            continue
    return total


def stop(stack: Stack) -> int:
    """End all processes of a stack, runs before the worker before the servers; how many there were.

    Raises:
        StackError: a process does not end.
    """
    everything = stack.processes()
    roots = set(stack.pids.values())
    worker = stack.pids.get("worker")
    kept_by_servers = {p.pid for name in ("prefect", "mlflow") for p in _family(stack.pids.get(name))}
    first = [p for p in everything if p.pid not in kept_by_servers and p.pid != worker]
    _end(first)
    _end([p for p in everything if p.pid == worker])
    _end([p for p in stack.processes() if p.pid in roots])
    _end(stack.processes())
    left = stack.processes()
    if left:
        raise StackError(f"these processes do not end: {', '.join(str(p.pid) for p in left)}")
    return len(everything)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _quietly(action: Callable[[], Any]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def _family(pid: int | None) -> Iterator[psutil.Process]:
    if pid is None:
        return
    try:
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)
    except psutil.Error:
        return
