"""What a terminal, a pipe and a program get to see."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

from flows.cli import main
from freqd.config import RunConfig, describe
from tests.shell import freqd_command

EXAMPLES = [example for commands in main.COMMANDS.values() for _, example in commands]


def on_terminal(columns: int, *words: str) -> str:
    """What `freqd` writes on a terminal of so many columns."""
    head, tail = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    command = [str(Path(sys.executable).with_name("freqd")), *words]
    with subprocess.Popen(command, stdin=tail, stdout=tail, stderr=subprocess.DEVNULL, env=environment):
        os.close(tail)
        parts = []
        while True:
            try:
                part = os.read(head, 1 << 16)
            except OSError:  # it has ended
                break
            parts.append(part)
            if not part:
                break
    os.close(head)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_of_a_command_is_one_that_it_takes(example: str) -> None:
    program, *words = shlex.split(example)
    assert program == "freqd"
    command, bound, _ = main.app.parse_args(words, exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None


def test_every_command_has_an_example_and_its_place() -> None:
    named = [command for commands in main.COMMANDS.values() for command, _ in commands]
    for command in named:
        name = command.name[0] if isinstance(command, App) else command.__name__
        assert f"Example: freqd {name}" in freqd_command(name, "--help").stdout
    root = freqd_command("--help").stdout
    assert "Exit codes: 0 done" in root
    assert all(f"─ {title} ─" in root for title in main.COMMANDS)


@pytest.mark.parametrize("words", [("data", "list"), ("settings", "index"), ("methods",), ("data", "info", "grocery")])
@pytest.mark.parametrize("columns", [60, 80])
def test_a_table_fits_the_terminal_and_breaks_no_word(words: tuple[str, ...], columns: int) -> None:
    text, piped = on_terminal(columns, *words), freqd_command(*words).stdout
    lines = text.splitlines()
    assert "\x1b" not in text
    shown = set(piped.split())
    assert all(word in shown or set(word) == {"-"} for line in lines for word in line.split())
    assert all(len(line) <= columns for line in lines)


def test_a_pipe_gets_a_record_a_line() -> None:
    lines = freqd_command("settings", "distill").stdout.splitlines()
    wanted = [name for name, *_ in describe(RunConfig) if name.startswith("distill.")]
    assert [line.split()[0] for line in lines[1:]] == wanted


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("data", "list"), 0),
        (("data", "info", "grocery"), 0),
        (("settings", "distill"), 0),
        (("methods",), 0),
        (("status",), 1),
        (("audit",), 0),
        (("doctor",), 0),
        (("clean",), 0),
    ],
)
def test_json_is_what_a_program_reads(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    where = ("--workdir", tmp_path) if words[0] in ("status", "audit", "doctor", "clean") else ()
    found = freqd_command(*words, "--json", *where)
    assert found.returncode == code, found.stderr
    assert json.loads(found.stdout) is not None
