"""Things in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from freqd import plugins
from freqd.crew import LostWorkerError, local_crew
from freqd.distill import REGISTRY
from freqd.errors import InputError
from freqd.numerics import threads


class Counter:
    """Counts up."""

    def __init__(self, first: int, step: int) -> None:
        self.now, self.step = first, step

    def add(self, values: npt.NDArray[np.int64]) -> tuple[int, int]:
        """What it is at now, and where."""
        self.now += self.step * int(values.sum())
        return self.now, os.getpid()

    def fail(self, message: str) -> None:
        """Never works."""
        raise InputError(message, "none")

    def end(self) -> None:
        """As the system does where memory is short."""
        if self.now == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class Known:
    """Knows what there is by name."""

    def __init__(self, part: int) -> None:
        self.part = part

    def named(self, name: str) -> bool:
        """Whether there is such an objective."""
        return name in REGISTRY


def test_what_plugins_provide_is_known_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_FILES", {})
    monkeypatch.setattr(REGISTRY, "entries", dict(REGISTRY.entries))
    file = tmp_path / "mine.py"
    file.write_text(
        "from freqd.distill import Objective, objective\n"
        "@objective('of-a-crew')\n"
        "class Mine(Objective):\n"
        "    by_user = True\n"
        "    def loss(self, view, batch): return 0\n"
    )
    plugins.load_files([file])
    with threads.limited(2), local_crew(Known, [1, 2]) as crew:
        assert crew.each("named", "of-a-crew") == [True, True]
        assert crew.each("named", "of-nobody") == [False, False]


class Recipes(Sequence[int]):
    """Parts that are made when they are asked for."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: Any) -> Any:
        self.made.append((1, 2, 3)[number])
        return self.made[-1]


@pytest.mark.parametrize("count", [1, 2])
def test_a_part_is_made_once_when_it_is_sent(count: int) -> None:
    recipes = Recipes()
    with threads.limited(count), local_crew(Counter, recipes, 10) as crew:
        assert [now for now, _ in crew.each("add", np.array([0]))] == [1, 2, 3]
    assert sorted(recipes.made) == [1, 2, 3]


@pytest.mark.parametrize("count", [1, 2])
def test_things_stay_and_answer_in_order(count: int) -> None:
    with threads.limited(count), local_crew(Counter, [1, 2, 3], 10) as crew:
        crew.each("add", np.array([1, 1]))
        found = crew.each("add", np.array([1]))
        assert [now for now, _ in found] == [31, 32, 33]
        processes = {process for _, process in found}
        assert len(processes) == count
        assert (os.getpid() in processes) == (count == 1)
        with pytest.raises(InputError, match="it is so"):
            crew.each("fail", "it is so")
        assert [now for now, _ in crew.each("add", np.array([0]))] == [31, 32, 33]
    assert not [process for process in processes - {os.getpid()} if psutil.pid_exists(process)]


def test_a_process_that_ends_is_told() -> None:
    with threads.limited(2), local_crew(Counter, [1, 2], 1) as crew:
        with pytest.raises(LostWorkerError, match="no memory") as error:
            crew.each("end")
        assert "resumes" in error.value.remedy


def test_what_cannot_be_made_is_told() -> None:
    with threads.limited(2), pytest.raises(TypeError, match="argument"), local_crew(Counter, [1, 2]):
        pass


def test_no_process_is_left_by_one_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from freqd.crew import local_crew\n"
        "from freqd.numerics import threads\n"
        "from tests.test_crew import Counter\n"
        "with threads.limited(2), local_crew(Counter, [1, 2], 1) as crew:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, text=True, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        children = psutil.Process(run.pid).children()
        assert len([child for child in children if "freqd.crew" in " ".join(child.cmdline())]) == 2
        run.kill()
    end = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.1)
