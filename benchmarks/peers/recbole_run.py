"""RecBole's side of the benchmark `recbole`: run by the Python of RecBole's environment, prints one JSON object.

Usage: recbole_run.py FOLDER NAME DIM RUNS THREADS STEPS ITEMS

FOLDER/NAME holds RecBole's atomic files NAME.train.inter, NAME.valid.inter and NAME.test.inter. Each work is run once
untimed and RUNS times timed; of LightGCN only STEPS batches are. ITEMS is how many items there are.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import sys
import time
from itertools import islice
from pathlib import Path

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

RANKED_AT_ONCE = 512


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024


def timed(work, runs: int) -> dict:
    """Wall and CPU seconds of each run, and the most memory that any took beyond the start."""
    wall, cpu, peak = [], [], 0
    for turn in range(-1, runs):
        gc.collect()
        with contextlib.suppress(OSError):  # some kernels do not allow it: the peak is then that of the whole process
            Path("/proc/self/clear_refs").write_text("5")
        held, started, started_cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
        kept = work()
        if turn >= 0:
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - started_cpu)
            peak = max(peak, memory("VmHWM") - held)
        del kept
    return {"wall": wall, "cpu": cpu, "peak_bytes": peak}


def settings(model: str, folder: str, name: str, dim: int, n_items: int) -> Config:
    given = {
        "data_path": folder,
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": dim,
        "n_layers": 3,
        "train_batch_size": 2048,
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "eval_batch_size": RANKED_AT_ONCE * n_items,
        "eval_args": {"split": None, "group_by": "user", "order": "RO", "mode": "full"},
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
    }
    sys.argv = sys.argv[:1]  # which RecBole reads too
    return Config(model=model, dataset=name, config_dict=given)


def main() -> None:
    folder, name = sys.argv[1:3]
    dim, runs, threads, steps, n_items = map(int, sys.argv[3:8])
    os.chdir(folder)  # RecBole writes logs and checkpoints where it runs
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)
    config = settings("BPR", folder, name, dim, n_items)
    init_seed(config["seed"], config["reproducibility"])

    def prepare():
        dataset = create_dataset(config)
        return data_preparation(config, dataset)

    found = {"preparation": timed(prepare, runs)}
    train, _, test = prepare()
    trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, get_model("BPR")(config, train.dataset))
    found["bpr"] = timed(lambda: trainer._train_epoch(train, 0), runs)
    found["evaluation"] = timed(lambda: trainer.evaluate(test, load_best_model=False), runs)

    graph_config = settings("LightGCN", folder, name, dim, n_items)
    model = get_model("LightGCN")(graph_config, train.dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def some_batches() -> None:
        for interaction in islice(train, steps):
            optimizer.zero_grad()
            model.calculate_loss(interaction).backward()
            optimizer.step()

    found["lightgcn"] = timed(some_batches, runs) | {"steps": min(steps, len(train)), "of_steps": len(train)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
