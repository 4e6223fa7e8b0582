"""Plugins in a file and in an installed package: what is imported, what is refused, what is part of a key."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from freqd import plugins
from freqd.config import DistillConfig, ObjectiveConfig, RunConfig, TeacherConfig
from freqd.config.load import build, take_plugins
from freqd.distill import REGISTRY, check_objectives
from freqd.errors import InputError
from freqd.plugins import load_files
from freqd.storage.files import file_digest
from freqd.teachers.kinds import REGISTRY as TEACHERS
from freqd.teachers.training import check_teacher
from tasks import plugins as used
from tasks.experiments.tune import _toml
from tasks.stages import distill, teacher

OBJECTIVE = """
from freqd.distill import Objective, objective

@objective("{name}")
class Mine(Objective):
    def loss(self, view, batch):
        return view.users(batch.users).sum()
"""
TEACHER = """
from freqd.teachers import teacher

@teacher("{name}")
def train(split, config, environment):
    raise NotImplementedError
"""
Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for registry in (REGISTRY, TEACHERS):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))
    monkeypatch.setattr(plugins, "_FILES", {})
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    yield
    plugins._installed.cache_clear()
    plugins._package_digest.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """What pip leaves of a package with one module."""

    def do(package: str, content: str, **points: str) -> Path:
        folder = tmp_path / package
        info = folder / f"{package}-2.1.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(content)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.1\n")
        lines = (f"[freqd.{group}]\n{name} = {package}\n" for group, name in points.items())
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)
        plugins._installed.cache_clear()
        return folder / f"{package}.py"

    return do


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def distilled(name: str) -> DistillConfig:
    return DistillConfig(objectives=(ObjectiveConfig(name=name),))


def test_a_file_is_imported_once_and_its_digest_is_its_source(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", OBJECTIVE.format(name="mine"))
    load_files([file, file, write(tmp_path / "copy.py", file.read_text())])
    check_objectives([ObjectiveConfig(name="mine")])
    assert REGISTRY.origin("mine") == f"from {file}"
    assert REGISTRY.plugins(["mine", "rce"])["mine"].digest == file_digest(file)
    assert list(REGISTRY.plugins(["mine", "rce"])) == ["mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = 1\nb = (\n", "line 2"),
        ("\n\nraise ValueError('no good')\n", "line 3: ValueError: no good"),
        ("import freqd\nimport not_there_at_all\n", "line 2: ModuleNotFoundError"),
        (OBJECTIVE.format(name="rce"), "line 4: ValueError: two objectives are named 'rce': one built in"),
        (TEACHER.format(name="als"), "line 4: ValueError: two teachers are named 'als': one built in"),
    ],
)
def test_an_error_names_file_and_line_and_leaves_nothing(tmp_path: Path, content: str, message: str) -> None:
    file = write(tmp_path / "mine.py", OBJECTIVE.format(name="early") + content)
    before = OBJECTIVE.format(name="early").count("\n")
    number = int(message.split("line ")[1].split(":")[0])
    with pytest.raises(InputError) as caught:
        load_files([file])
    assert str(file) in caught.value.problem
    assert message.replace(f"line {number}", f"line {before + number}") in caught.value.problem
    assert "early" not in REGISTRY


def test_a_cell_of_a_notebook_may_be_run_again() -> None:
    for _ in range(2):
        exec(OBJECTIVE.format(name="cell"), {"__name__": "__main__"})
    assert REGISTRY.origin("cell") == "from __main__"
    with pytest.raises(ValueError, match="two objectives are named 'cell'"):
        exec(OBJECTIVE.format(name="cell"), {"__name__": "elsewhere"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.py cannot be read"):
        load_files([tmp_path / "nowhere.py"])


def test_an_installed_plugin_is_imported_when_its_name_is_asked_for(install: Install) -> None:
    content = OBJECTIVE.format(name="theirs") + TEACHER.format(name="theirs")
    install("theirs", content, objectives="theirs", teachers="theirs")
    assert "theirs" in list(REGISTRY)
    assert REGISTRY.origin("theirs") == "from theirs 2.1"
    assert "theirs" not in sys.modules
    check_objectives([ObjectiveConfig(name="theirs")])
    check_teacher(TeacherConfig(kind="theirs"))
    assert REGISTRY.plugins(["theirs"])["theirs"].file is None


@pytest.mark.parametrize(
    ("content", "message"),
    [("import not_there_at_all", "broken 2.1.*line 1: ModuleNotFoundError"), ("a = 1", "broken 2.1.*and does not")],
)
def test_a_broken_package_harms_only_who_asks_for_it(install: Install, content: str, message: str) -> None:
    install("broken", content, objectives="broken")
    check_objectives([ObjectiveConfig(name="rce")])
    assert "broken" in list(REGISTRY)
    with pytest.raises(InputError, match=message):
        check_objectives([ObjectiveConfig(name="broken")])


def test_a_package_that_takes_a_name_is_refused(install: Install, tmp_path: Path) -> None:
    load_files([write(tmp_path / "mine.py", OBJECTIVE.format(name="mine"))])
    for name in ("rce", "mine"):
        install(f"taker_{name}", OBJECTIVE.format(name=name), objectives=name)
        with pytest.raises(InputError, match=f"two objectives are named '{name}'.*taker_{name} 2.1"):
            check_objectives([ObjectiveConfig(name=name)])


def test_the_source_is_in_the_keys_and_in_the_lineage(tmp_path: Path, install: Install) -> None:
    file = write(tmp_path / "mine.py", OBJECTIVE.format(name="mine"))
    load_files([file])
    module = install("theirs", TEACHER.format(name="theirs"), teachers="theirs")
    nothing: tuple = (None, None)
    assert distill.source(*nothing, distilled("mine"), None) == {"plugin.mine": file_digest(file)}
    assert distill.source(*nothing, distilled("rce"), None) == {}
    taught = teacher.source(*nothing, TeacherConfig(kind="theirs"))
    assert set(teacher.source(*nothing, TeacherConfig())) == {"source_digest"}

    module.write_text(module.read_text() + "# changed\n")
    plugins._package_digest.cache_clear()  # as in a new process
    assert teacher.source(*nothing, TeacherConfig(kind="theirs"))["plugin.theirs"] != taught["plugin.theirs"]

    config = RunConfig(teacher=TeacherConfig(kind="theirs"), distill=distilled("mine"))
    assert used.lineage(config)["freqd.plugins"].endswith(f", mine={file_digest(file)[:12]}")
    assert used.files(config) == [str(file)]
    assert used.lineage(RunConfig()) == {}


def test_a_search_writes_the_files_that_its_result_needs(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", OBJECTIVE.format(name="mine"))
    load_files([file])
    config = RunConfig(distill=distilled("mine"))
    trial = SimpleNamespace(number=1, value=0.1)
    facts = {"data": "shop", "method": "mine", "best_trial": trial, "trials": [trial], "seconds": 1.0, "freqd": "0"}
    text = _toml(SimpleNamespace(config=config.model_dump(mode="json"), **facts), config)
    layer = tomllib.loads(text)
    assert take_plugins(layer, tmp_path / "elsewhere" / "tuned.toml") == [file]
    assert build([layer]) == config


def test_no_setting_of_a_run_names_a_plugin(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="plugins"):
        RunConfig.model_validate({"plugins": ["mine.py"]})
    layer: dict[str, object] = {"plugins": ["mine.py", "/other.py"], "seed": 3}
    assert take_plugins(layer, tmp_path / "settings.toml") == [tmp_path / "mine.py", Path("/other.py")]
    assert layer == {"seed": 3}
    with pytest.raises(InputError, match="must be a list of Python files"):
        take_plugins({"plugins": [3]}, tmp_path / "settings.toml")
