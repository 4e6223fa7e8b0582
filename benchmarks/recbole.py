"""RecBole on Gowalla, d = 64: epochs of BPR and LightGCN, full-ranking evaluation, data preparation, against freqd's.

RecBole needs older packages than freqd, so it runs in an environment of its own, made by `make peers`, on the same
pairs in its own file format. Without that environment freqd's times stand alone.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, Work, main, measure, ratio, unmeasured
from benchmarks.lightgcn import LAYERS, STEPS
from benchmarks.processes import run_process
from benchmarks.training import BATCH, model_epochs, some_steps, student_epochs
from freqd.config import DataConfig, EvaluateConfig
from freqd.data import Interactions, Places, Split, ingest
from freqd.evaluate import evaluate
from freqd.models.lightgcn import LightGCN

PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = Path(__file__).parent.parent / ".peers" / "recbole"
NO_PEER = "run `make peers` first"
WORKS = {
    "bpr": ("BPR epoch", ">= 20"),
    "lightgcn": ("LightGCN epoch", ">= 5"),
    "evaluation": ("full-ranking evaluation", ""),
    "preparation": ("data preparation", ""),
}


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    split, dim = dataset.split, 8 if options.tiny else 64
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        every = 200 if len(split.test) > 10_000 else 10
        few = np.arange(len(split.test)) % every == 0  # RecBole wants a validation part
        write_pairs({"train": split.train, "valid": _some(split.test, few), "test": _some(split.test, ~few)}, folder)
        rows = _ours(split, folder, dim, options)
        rows |= _theirs(folder, dim, split.n_items, options)
    figures = [
        ratio(f"RecBole / freqd, {text}", rows[f"RecBole, {text}"], rows[f"freqd, {text}"], target)
        for text, target in WORKS.values()
        if rows[f"RecBole, {text}"].wall
    ]
    epoch = rows["freqd, LightGCN epoch"]
    return Report(
        f"RecBole beside freqd, d = {dim}",
        dataset.label,
        tuple(rows.values()),
        (*figures, Figure("freqd, LightGCN epoch in seconds", epoch.seconds, epoch.cpu_seconds)),
        (
            f"RecBole's defaults but: batch {BATCH} in training, 512 users at a time in ranking (by default it is one), "
            "recall and NDCG at 20; freqd's evaluation computes all its metrics at 10 and 20.",
            "RecBole's runs come after freqd's, in a process of its own. Data preparation: from the pairs in files (Parquet; RecBole's text) to what trainings and evaluation read.",
        ),
    )


def write_pairs(parts: Mapping[str, Interactions], folder: Path) -> None:
    """Train, validation and test pairs as Parquet and as RecBole's atomic files."""
    name = folder / folder.name
    name.mkdir()
    for part, pairs in parts.items():
        frame = pl.DataFrame({"user": pairs.user, "item": pairs.item})
        frame.write_parquet(folder / f"{part}.parquet")
        tokens = frame.rename({"user": "user_id:token", "item": "item_id:token"})
        tokens.write_csv(name / f"{name.name}.{part}.inter", separator="\t")


def _some(pairs: Interactions, chosen: npt.NDArray[np.bool_]) -> Interactions:
    return Interactions(pairs.user[chosen], pairs.item[chosen], pairs.n_users, pairs.n_items)


def _ours(split: Split, folder: Path, dim: int, options: Options) -> dict[str, Measured]:
    train = split.train.matrix()
    table = data.features(split, dim, sweeps=1)
    pairs, factor = some_steps(train, STEPS)
    parts = {part: str(folder / f"{part}.parquet") for part in ("train", "valid", "test")}
    bpr = student_epochs(train, [], dim=dim, weight_decay=1e-3)
    lightgcn = model_epochs(lambda: LightGCN(train, dim, LAYERS, seed=0), pairs, [])
    works: dict[str, Work] = {
        "bpr": bpr,
        "lightgcn": lightgcn,
        "evaluation": lambda: evaluate(table, split, EvaluateConfig()),
        "preparation": lambda: ingest(DataConfig(**parts), seed=0, places=Places(None, folder)).train.matrix(),
    }
    found = measure(works, options)
    for work in (bpr, lightgcn):
        work.close()
    found["lightgcn"] = found["lightgcn"].scaled(factor, _extrapolated(-(-pairs.nnz // BATCH), factor))
    names = {work: f"freqd, {text}" for work, (text, _) in WORKS.items()}
    return {names[work]: replace(row, name=names[work]) for work, row in found.items()}


def _theirs(folder: Path, dim: int, n_items: int, options: Options) -> dict[str, Measured]:
    names = {work: f"RecBole, {text}" for work, (text, _) in WORKS.items()}
    found = ask_peer("recbole_run.py", folder, dim, options.runs, options.threads, STEPS, n_items)
    if found is None:
        return {name: unmeasured(name, NO_PEER) for name in names.values()}
    rows = {}
    for work, name in names.items():
        row = found[work]
        measured = Measured(name, tuple(row["wall"]), tuple(row["cpu"]), row["peak_bytes"])
        if "steps" in row:
            factor = row["of_steps"] / row["steps"]
            measured = measured.scaled(factor, _extrapolated(row["steps"], factor))
        rows[name] = measured
    return rows


def ask_peer(script: str, folder: Path, *numbers: float) -> dict[str, Any] | None:
    """What a script of ``peers`` prints in RecBole's environment about the pairs in ``folder``; None without that environment."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        return None
    command = [str(python), "-W", "ignore", str(PEERS / script), str(folder), folder.name, *map(str, numbers)]
    done = run_process(command, environment=os.environ)
    found: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return found


def _extrapolated(steps: int, factor: float) -> str:
    return f"extrapolated: {steps} steps timed, x {factor:.3g} an epoch"


if __name__ == "__main__":
    main(run)
