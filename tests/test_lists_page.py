"""What docs/lists.md shows is run, as a reader would: a sequence model, its lists, and a student that learns from them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tests.test_docs import ROOT, commands, small

PAGE = "docs/lists.md"


def test_a_sequence_models_lists_teach_a_student(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> None:
    rows = planted(users=120, items=60).sort("time")
    place = rows.select(pl.int_range(pl.len()).over("user") / pl.len().over("user")).to_series()
    for name, low, high in (("train", 0.0, 0.7), ("valid", 0.7, 0.85), ("test", 0.85, 1.0)):
        rows.filter((place >= low) & (place < high)).write_csv(tmp_path / f"{name}.csv")
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    (tmp_path / "sasrec.py").write_text(script)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    environment["OMP_NUM_THREADS"] = "1"
    subprocess.run([sys.executable, "sasrec.py"], cwd=tmp_path, env=environment, check=True, timeout=300)
    (words,) = commands(PAGE)
    command = [Path(sys.executable).parent / "freqd", *words[1:], *small(words), "--name", "lists"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    said = done.stdout + done.stderr
    assert "120 of 120 users have a list" in said
    assert "it is no pair of tables" in said
    summary = json.loads((tmp_path / "freqd-work" / "runs" / "lists" / "summary.json").read_text())
    assert [term["name"] for term in summary["training"]["student"]["info"]["objectives"]] == ["rce"]
    assert summary["spectrum"]["whole_ndcg"] == summary["training"]["teacher"]["info"]["valid_ndcg_at_10"]
