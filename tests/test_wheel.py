"""The wheel: what is in it, and that it runs from there alone, far from the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import freqd

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("flows", "freqd", "tasks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """freqd's own wheel, made from a copy of the source and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    unwanted = shutil.ignore_patterns(
        ".*", "build", "*.egg-info", "__pycache__", "freqd-work", "wheels", "tests", "docs"
    )
    shutil.copytree(ROOT, source, ignore=unwanted)
    made = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "made", source)
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = (folder / "made").iterdir()
    return found


def pip(command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    options = ("--quiet", "--disable-pip-version-check", "--no-index")
    return subprocess.run(
        [sys.executable, "-m", "pip", command, *options, *words], capture_output=True, text=True, timeout=300
    )


def test_it_holds_the_three_packages_with_all_their_files_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"freqd-{freqd.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"freqd-{freqd.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {*PACKAGES, about}
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {name for name in names if not name.startswith(about)} == wanted
    assert {"freqd/py.typed", "freqd/presets/quick.toml", "freqd/report/templates/template.html.j2"} <= wanted
    assert f"{about}/licenses/LICENSE" in names


def test_it_runs_without_the_source(wheel: Path, tmp_path: Path) -> None:
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    elsewhere.mkdir()
    installed = pip("install", "--no-deps", "--target", there, wheel)
    assert installed.returncode == 0, installed.stderr
    own = {name: value for name, value in os.environ.items() if not name.startswith(("FREQD_", "PYTHON", "NUMBA_"))}
    environment = {**own, "PYTHONPATH": str(there), "COLUMNS": "200"}

    def python(*words: str) -> str:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    places = python("-c", "import freqd, tasks, flows; print(freqd.__file__, tasks.__file__, flows.__file__)").split()
    assert [Path(place).parent for place in places] == [there / name for name in ("freqd", "tasks", "flows")]
    command = str(there / "bin" / "freqd")
    assert python(command, "--version").strip() == freqd.__version__
    assert "--preset" in python(command, "run", "--help")
    assert "quick" in python(command, "settings", "--markdown"), "the presets are found"
    assert "grocery" in python(command, "data", "list")
    page = "from freqd.report.run.html import template as page; print(page().name, page('cadence.html.j2').name)"
    assert python("-c", page).split() == ["template.html.j2", "cadence.html.j2"]
    assert list(elsewhere.iterdir()) == [], "a command that only shows writes nothing where it is called"
