"""LightGCN trained to its end by freqd and by RecBole on CiteULike, d = 64, judged by the same evaluation."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, ratio, unmeasured
from benchmarks.lightgcn import LAYERS
from benchmarks.processes import run_process
from benchmarks.recbole import ENVIRONMENT, PEER, write_pairs
from benchmarks.training import BATCH
from freqd.config import EvaluateConfig
from freqd.data import Split
from freqd.evaluate import evaluate
from freqd.evaluate.validation import Validation
from freqd.features import FeatureTable
from freqd.models.lightgcn import LightGCN
from freqd.models.training import FitSettings, fit

STEP_SIZE = 5e-3
EPOCHS, EVERY, PATIENCE = 100, 5, 3
"""Epochs at the most, epochs between two validations, and validations without a better one that end a training."""


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("citeulike", tiny=options.tiny)
    split, dim, epochs = dataset.split, 8 if options.tiny else 64, 10 if options.tiny else EPOCHS
    mine, features = ours(split, dim, epochs)
    rows, figures = [mine], [Figure("freqd, NDCG@20 on test", ndcg(features, split, options))]
    if not (ENVIRONMENT / "bin" / "python").is_file():
        rows.append(unmeasured("RecBole, LightGCN training", "run `make peers` first"))
    else:
        peer, features = theirs(split, dim, epochs, options)
        rows.append(peer)
        figures.append(Figure("RecBole, NDCG@20 on test", ndcg(features, split, options)))
        figures.append(Figure("freqd / RecBole, NDCG@20", figures[0].value / figures[1].value, None, ">= 1"))
        figures.append(ratio("RecBole / freqd, seconds of training", peer, mine))
    return Report(
        f"LightGCN trained to its end, d = {dim}, {LAYERS} layers, batch {BATCH}",
        dataset.label,
        tuple(rows),
        tuple(figures),
        (
            f"Adam with step size {STEP_SIZE:g}, no L2, at most {epochs} epochs, the state of the best validation (each "
            f"program's own, every {EVERY} epochs, an end after {PATIENCE} without a better one); seconds without validations.",
        ),
        runs=1,
    )


def ndcg(features: FeatureTable, split: Split, options: Options) -> float:
    """NDCG@20 of all test users by freqd's evaluation."""
    found = evaluate(features, split, EvaluateConfig(ks=(20,)), threads=options.threads)
    return float(found.metrics["ndcg_at_20"])


def ours(split: Split, dim: int, epochs: int) -> tuple[Measured, FeatureTable]:
    """freqd's loop; its clock stands still while it validates."""
    judge = Validation.of(split, limit=None, seed=0)
    judging = [0.0, 0.0]

    def validate(features: FeatureTable) -> float:
        started = time.perf_counter(), time.process_time()
        found = judge(features)
        judging[0] += time.perf_counter() - started[0]
        judging[1] += time.process_time() - started[1]
        return found

    settings = FitSettings(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=STEP_SIZE,
        weight_decay=0.0,
        eval_every=EVERY,
        patience=PATIENCE,
        device="cpu",
    )
    train = split.train.matrix()
    started = time.perf_counter(), time.process_time()
    trained = fit(LightGCN(train, dim, LAYERS, seed=0), [], train, validate=validate, settings=settings, seed=0)
    wall, cpu = time.perf_counter() - started[0] - judging[0], time.process_time() - started[1] - judging[1]
    note = f"{trained.info['epochs']} epochs"
    return Measured("freqd, LightGCN training", (wall,), (cpu,), None, note), trained.features


def theirs(split: Split, dim: int, epochs: int, options: Options) -> tuple[Measured, FeatureTable]:
    """RecBole's training in its own process; users and items that it has not seen get zeros."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs({"train": split.train, "valid": split.valid, "test": split.test}, folder)
        command = [str(ENVIRONMENT / "bin" / "python"), "-W", "ignore", str(PEER.with_name("recbole_train.py"))]
        numbers = (dim, options.threads, epochs, EVERY, PATIENCE, STEP_SIZE, split.n_items)
        done = run_process([*command, str(folder), folder.name, *map(str, numbers)], environment=os.environ)
        found = json.loads(done.output.splitlines()[-1])
        with np.load(folder / "features.npz", allow_pickle=False) as file:
            arrays = dict(file)
    users, items = np.zeros((split.n_users, dim), np.float32), np.zeros((split.n_items, dim), np.float32)
    users[arrays["user_numbers"]], items[arrays["item_numbers"]] = arrays["users"], arrays["items"]
    note = f"{found['epochs']} epochs"
    row = Measured("RecBole, LightGCN training", (found["wall"],), (found["cpu"],), None, note)
    return row, FeatureTable(users, items)


if __name__ == "__main__":
    main(run)
