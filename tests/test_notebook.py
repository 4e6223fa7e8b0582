"""docs/notebook.ipynb is short, holds no outputs, runs, and shows what its text says."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "notebook.ipynb"


def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in found if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; the value of its last line, which is shown."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)


def test_it_has_under_20_lines_of_code() -> None:
    assert sum(bool(line.strip()) for cell in cells() for line in cell.splitlines()) < 20


def test_it_runs_and_shows_what_it_says() -> None:
    names: dict[str, Any] = {}
    _, fitted, metrics, spectrum, best, alike = (shown(cell, names) for cell in cells())
    assert repr(fitted).startswith("Distiller(dim=8, teacher='als', seed=0): <Split of 773 users")

    teacher, student = metrics["ndcg_at_10"]
    assert metrics["dim"].to_list() == [64, 8]
    assert student > 0.9 * teacher

    lowest, middle = spectrum.row(0, named=True), spectrum.filter(low=0.875).row(0, named=True)
    everything = names["model"].fitted.spectrum.base_ndcg
    assert lowest["energy"] < 0.06
    assert lowest["only"] > 0.85 * everything
    assert middle["energy"] > 0.5
    assert middle["without"] > 0.98 * everything

    assert best.columns == alike.columns == ["item", "score", "what"]
    assert len(best) == len(alike) == 5
    bought = names["rows"].query("household_id == 1")["product_id"]
    assert not set(best["item"]) & set(bought)
