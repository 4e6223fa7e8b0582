"""LightGCN trained to its end by freqd and by RecBole on CiteULike, d = 64, judged by the same evaluation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, ratio, unmeasured
from benchmarks.lightgcn import LAYERS
from benchmarks.recbole import NO_PEER, ask_peer, write_pairs
from benchmarks.time_to_quality import Curve
from benchmarks.training import BATCH
from freqd.config import EvaluateConfig
from freqd.data import Split
from freqd.embeddings import Embeddings
from freqd.evaluate import evaluate
from freqd.evaluate.validation import Validation
from freqd.models.lightgcn import LightGCN
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig

STEP_SIZE = 5e-3
EPOCHS, EVERY, PATIENCE = 100, 5, 3
"""Epochs at the most, epochs between two validations, and validations without a better one that end a training."""


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("citeulike", tiny=options.tiny)
    split, dim, epochs = dataset.split, 8 if options.tiny else 64, 10 if options.tiny else EPOCHS
    mine, features = ours(split, dim, epochs)
    rows, figures = [mine], [Figure("freqd, NDCG@20 on test", ndcg(features, split, options))]
    found = theirs(split, dim, epochs, options)
    if found is None:
        rows.append(unmeasured("RecBole, LightGCN training", NO_PEER))
    else:
        peer, features = found
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


def ndcg(features: Embeddings, split: Split, options: Options) -> float:
    """NDCG@20 of all test users by freqd's evaluation."""
    found = evaluate(features, split, EvaluateConfig(ks=(20,)))
    return float(found.metrics["ndcg_at_20"])


def ours(split: Split, dim: int, epochs: int) -> tuple[Measured, Embeddings]:
    """freqd's loop."""
    optim = OptimConfig(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=STEP_SIZE,
        weight_decay=0.0,
        eval_every=EVERY,
        patience=PATIENCE,
    )
    curve = Curve(Validation.of(split, limit=None, seed=0))
    model = LightGCN(curve.train, dim, LAYERS, seed=0)
    trained = fit(model, [], curve, optim, TrainingEnvironment(seed=0, device="cpu"))
    wall, cpu, _ = curve.points[-1]
    note = f"{trained.info['epochs']} epochs"
    return Measured("freqd, LightGCN training", (wall,), (cpu,), None, note), trained.features


def theirs(split: Split, dim: int, epochs: int, options: Options) -> tuple[Measured, Embeddings] | None:
    """RecBole's training in its own process, if it is installed; users and items that it has not seen get zeros."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs({"train": split.train, "valid": split.valid, "test": split.test}, folder)
        numbers = (dim, options.threads, epochs, EVERY, PATIENCE, STEP_SIZE, split.n_items)
        found = ask_peer("recbole_train.py", folder, *numbers)
        if found is None:
            return None
        with np.load(folder / "features.npz", allow_pickle=False) as file:
            arrays = dict(file)
    users, items = np.zeros((split.n_users, dim), np.float32), np.zeros((split.n_items, dim), np.float32)
    users[arrays["user_numbers"]], items[arrays["item_numbers"]] = arrays["users"], arrays["items"]
    note = f"{found['epochs']} epochs"
    row = Measured("RecBole, LightGCN training", (found["wall"],), (found["cpu"],), None, note)
    return row, Embeddings(users, items)


if __name__ == "__main__":
    main(run)
