"""Processes of the stack: looked at, and ended with all that they started."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from freqd.errors import FreqdError, InputError
from tasks.runtime.server_state import Stack

HOST = "127.0.0.1"
STOP_SECONDS = 15.0
"""How long a process may take to end by itself."""


class StackError(FreqdError):
    """The servers could not be started or stopped, for a reason that lies not in the user's input."""


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


def free_from(port: int) -> int:
    """The first port from this one on at which nobody listens."""
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return port
            except OSError:
                port += 1


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
    everything, pids = stack.processes(), stack.pids
    kept = {p.pid for name in ("prefect", "mlflow") for p in _family(pids.get(name))}
    supervisors = [p for p in everything if p.pid == stack.supervisor]
    kept |= {p.pid for p in supervisors} | set(pids.values())
    end([p for p in everything if p.pid not in kept], STOP_SECONDS)
    end(supervisors, (len(pids) + 1) * STOP_SECONDS)  # it ends the others one after the other, the worker first
    end(stack.processes(), STOP_SECONDS)
    left = stack.processes()
    if left:
        raise StackError(f"these processes do not end: {', '.join(str(p.pid) for p in left)}")
    return len(everything)


def end(processes: list[psutil.Process], seconds: float) -> None:
    """Tell processes to end, and kill those that still live after ``seconds``."""
    for process in processes:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
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
