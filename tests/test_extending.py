"""What docs/extending.md shows is written down, installed and run, as a reader would."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from freqd.storage.files import file_digest
from tests.test_docs import ROOT, commands, small

PAGE = "docs/extending.md"


class Reader:
    """Somebody with the files of the page in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "freqd-work"
        text = (ROOT / PAGE).read_text()
        for name, content in re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL | re.MULTILINE):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)
        own = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.environment = {**own, "PYTHONPATH": str(folder / "shop-methods"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}

    def install(self) -> None:
        """What pip leaves of the package, beside its module: the folder is on the path of modules."""
        project = tomllib.loads((self.folder / "shop-methods" / "pyproject.toml").read_text())["project"]
        info = self.folder / "shop-methods" / "shop_methods-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = (
            f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in points.items())
            for group, points in project["entry-points"].items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "freqd", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )

    def run(self, words: list[str], name: str) -> dict[str, object]:
        """The summary of a run by a command of the page, made small."""
        done = self(*words, *small(list(words)), "--name", name)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
        return dict(json.loads((self.work / "runs" / name / "summary.json").read_text()))

    def tags(self) -> list[str]:
        """``freqd.plugins`` of all versions, in their order."""
        with sqlite3.connect(self.work / "mlflow" / "mlflow.db") as store:
            rows = store.execute(
                "select value from model_version_tags where key = 'freqd.plugins' order by cast(version as int)"
            )
            return [row[0] for row in rows]


@pytest.fixture
def reader(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> Reader:
    planted().write_csv(tmp_path / "purchases.csv")
    return Reader(tmp_path)


def test_what_the_page_shows_runs_and_leaves_its_source_behind(reader: Reader) -> None:
    by_option, listing, by_file, methods, by_package = (words[1:] for words in commands(PAGE))
    file = reader.folder / "my_objective.py"

    first = reader.run(by_option, "first")
    digest = file_digest(file)
    assert reader.tags() == [f"soft-bpr={digest[:12]}"]
    again = reader.run(by_option, "again")
    assert "distill" in again["cached_stages"]

    assert "from my_objective.py" in reader(*listing).stdout
    reader.run(by_file, "by-file")

    file.write_text(file.read_text() + "\nCHANGED = True\n")
    changed = reader.run(by_option, "changed")
    assert "teacher" in changed["cached_stages"]
    assert "distill" not in changed["cached_stages"]
    assert changed["config"] == first["config"]

    assert "shop-methods" not in reader(*methods).stdout
    missing = reader(*by_package)
    assert missing.returncode == 2
    assert "no teacher of kind 'puresvd'" in missing.stderr
    reader.install()
    listed = reader(*methods).stdout
    assert listed.count("from shop-methods 1.0") == 2
    packaged = reader.run(by_package, "packaged")
    assert packaged["models"]["teacher"]["dim"] == 16
    assert [word.partition("=")[0] for word in reader.tags()[-1].split(", ")] == ["puresvd", "score-mse"]


def test_a_schedule_refuses_a_file_and_says_what_to_do(reader: Reader) -> None:
    refused = reader("schedule", "--cron", "0 3 * * 1", "--config", "settings.toml")
    assert refused.returncode == 2
    assert "my_objective.py" in refused.stderr
    assert "entry point" in refused.stderr
