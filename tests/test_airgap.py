"""An installation without a network, as docs/operations.md has it: wheels collected here, installed there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.shell import SMALL

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_wheels_of_a_folder_are_all_that_an_installation_needs(tmp_path: Path, purchases: Path) -> None:
    wheels, there = tmp_path / "wheels", tmp_path / "there"
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "freqd-work", "wheels"))
    own = f"VENV={sys.prefix}"  # whose pip collects; nothing is installed into it
    collected = subprocess.run(
        ["make", "wheels", own, f"WHEELS={wheels}"], cwd=source, capture_output=True, text=True, timeout=500
    )
    assert collected.returncode == 0, collected.stderr
    assert all(path.suffix == ".whl" for path in wheels.iterdir()), "a source would have to be built there"

    venv.create(there, with_pip=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "FREQD_", "PYTHON"))
    }
    environment["PIP_CONFIG_FILE"] = os.devnull

    def do(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    do(there / "bin" / "pip", "install", "--quiet", "--no-index", "--find-links", wheels, "freqd[index]")
    freqd = there / "bin" / "freqd"
    assert "serve" in do(freqd, "--help")
    assert "all is well" in do(freqd, "doctor", "--workdir", tmp_path / "work")
    (tmp_path / "small.toml").write_text(SMALL)
    do(freqd, "run", "--config", "small.toml", "--data", purchases, "--workdir", tmp_path / "work")
    assert list((tmp_path / "work" / "runs").glob("*/report.html"))
