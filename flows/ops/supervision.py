"""supervisord, which runs the servers and the worker: it starts them anew when they die, keeps their logs, and stops them.

What is secret comes to the programs by the environment alone. The socket by which supervisord is told what to do is there
only while ``freqd up`` starts the programs; afterwards signals are enough: SIGTERM stops them in the reverse order of
their start. Its folder is a temporary one of its owner's, since the path of a socket may have a hundred characters only.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from flows.ops.processes import STOP_SECONDS, StackError, tail
from freqd.storage.files import write_atomic

START_SECONDS = 90.0
PRIVATE = 0o077
"""Umask of all that supervisord starts: what it writes is its owner's alone."""
SOCKET, COMMAND = "FREQD_SUPERVISOR_SOCKET", "FREQD_COMMAND_"
"""What the configuration takes from supervisord's environment, where nothing has to be quoted for it."""
ENDED = ("BACKOFF", "EXITED", "FATAL", "UNKNOWN")
"""States of a program that should live and does not."""

SETTINGS = f"""\
[supervisord]
nodaemon = true
silent = true
logfile = %(here)s/supervisor.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = %(here)s/supervisor.pid

[unix_http_server]
file = %(ENV_{SOCKET})s
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command = %(ENV_{command})s
priority = {priority}
autostart = false
autorestart = true
startsecs = 10
startretries = 10
stopwaitsecs = {seconds:.0f}
redirect_stderr = true
stdout_logfile = %(here)s/{name}.log
stdout_logfile_maxbytes = 50MB
stdout_logfile_backups = 1
"""


@dataclass(frozen=True)
class Supervisor:
    """A supervisord that was just started.

    Attributes:
        process: its process.
        folder: with its configuration and the logs.
        socket: where it listens.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    socket: Path

    def start(self, *names: str) -> None:
        """Start these programs; whether they become healthy is seen by ``wait``.

        Raises:
            StackError: supervisord ended, or does not answer.
        """
        self._until("supervisor", self.socket.exists)
        for name in names:
            self._call("startProcess", name, False)

    def wait(self, name: str, healthy: Callable[[], bool]) -> None:
        """Wait until a program that was started answers.

        Args:
            name: of the program.
            healthy: whether it answers.

        Raises:
            StackError: it ended, or does not answer in ``START_SECONDS``.
        """
        self._until(name, healthy, lambda: self._call("getProcessInfo", name)["statename"] in ENDED)

    def _until(self, name: str, done: Callable[[], bool], ended: Callable[[], bool] = lambda: False) -> None:
        deadline, problem = time.monotonic() + START_SECONDS, f"{name} is not healthy after {START_SECONDS:.0f} s"
        while time.monotonic() < deadline:
            if self.process.poll() is not None or ended():
                problem = f"{name} ended"
                break
            if done():
                return
            time.sleep(0.3)
        log = self.folder / f"{name}.log"
        raise StackError(f"{problem}; the last lines of {log}:\n" + "\n".join(tail(log, 12)))

    def _call(self, method: str, *arguments: str | bool) -> Any:
        """What supervisord answers."""
        transport = SupervisorTransport(serverurl=f"unix://{self.socket}")
        try:
            with ServerProxy("http://localhost", transport=transport) as server:
                return getattr(server.supervisor, method)(*arguments)
        except (OSError, HTTPException, Error) as error:
            raise StackError(f"supervisord does not {method}: {error}; see {self.folder}/supervisor.log") from error


@contextlib.contextmanager
def supervisor(
    folder: Path, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> Iterator[Supervisor]:
    """Start supervisord, which starts nothing by itself; within the block it can be told to.

    Args:
        folder: for its configuration, the logs, and to work in.
        commands: of the programs, in the order in which they are to be stopped last.
        environment: of supervisord and of all programs.
    """
    settings = folder / "supervisor.conf"
    write_atomic(settings, configuration(commands))
    settings.chmod(0o600)
    words = {f"{COMMAND}{name}": shlex.join(command) for name, command in commands.items()}
    with tempfile.TemporaryDirectory(prefix="freqd-") as place, (folder / "supervisor.log").open("ab") as log:
        socket = Path(place) / "socket"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "supervisor.supervisord", "--configuration", settings],
            env={**environment, **words, SOCKET: str(socket)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE,
        )
        yield Supervisor(process, folder, socket)


def configuration(names: Iterable[str]) -> str:
    """The text of supervisord's configuration for programs of these names."""
    programs = (
        PROGRAM.format(name=name, command=f"{COMMAND}{name}", priority=n, seconds=STOP_SECONDS)
        for n, name in enumerate(names)
    )
    return SETTINGS + "".join(programs)
