"""The layers, and what must never be in the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for package in ("freqd", "tasks", "flows") for path in (ROOT / package).rglob("*.py")]


def test_layers_hold() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_library_knows_neither_prefect_nor_mlflow() -> None:
    pattern = re.compile(r"^\s*(import|from) (prefect|mlflow)\b", re.MULTILINE)
    assert [p.name for p in (ROOT / "freqd").rglob("*.py") if pattern.search(p.read_text())] == []


def test_prefects_server_is_imported_in_one_place() -> None:
    """Its modules are no public interface; ``create_app`` alone is needed, for the guard to stand before it."""

    def imported(path: Path) -> set[str]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        parts = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None]
        return found | {f"{node.module}.{alias.name}" for node in parts for alias in node.names}

    found = {(p.relative_to(ROOT).as_posix(), name) for p in SOURCES for name in imported(p)}
    private = {(path, name) for path, name in found if name == "prefect.server" or name.startswith("prefect.server.")}
    assert private == {("tasks/runtime/prefect_server.py", "prefect.server.api.server.create_app")}


def test_no_pickle_is_read_or_written() -> None:
    pattern = re.compile(r"import pickle|cloudpickle|joblib|torch\.(load|save)\(|allow_pickle=True|pickle\.(load|dump)")
    assert [p.name for p in SOURCES if pattern.search(p.read_text())] == []


def test_the_mlflow_folder_does_not_shadow_the_package() -> None:
    assert not (ROOT / "mlflow" / "__init__.py").exists()


def test_a_commit_is_checked_as_make_lint_checks_and_nothing_is_downloaded_for_it() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipe = (ROOT / "Makefile").read_text().split("lint: setup\n")[1].split("\n\n")[0]
    linted = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in hooks] == linted


def test_what_the_page_of_the_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = page.split("```text\n")[1].split("```")[0]
    rooms = re.findall(r"^(\w+)/\n((?:  .*\n)+)", tree, re.MULTILINE)
    named = [Path(room) / name for room, lines in rooms for name in re.findall(r"^  ([\w.]+/?)  ", lines, re.MULTILINE)]
    named += [Path(path) for path in re.findall(r"`((?:freqd|tasks|flows)/[\w/.]*)`", page)]
    assert len(named) > 40
    assert [str(path) for path in named if not (ROOT / path).exists()] == []
    folders = [
        p for room in ("freqd", "tasks", "flows") for p in (ROOT / room).iterdir() if (p / "__init__.py").exists()
    ]
    assert [p.name for p in folders if p.relative_to(ROOT) not in named] == []
