"""RecBole's side of the benchmark `lightgcn_quality`: trains LightGCN and writes the features of its best validation.

Usage: recbole_train.py FOLDER NAME DIM THREADS EPOCHS EVERY PATIENCE STEP_SIZE ITEMS

FOLDER/NAME holds RecBole's atomic files. The features go to FOLDER/features.npz: users and items with their numbers.
Prints one JSON object: wall and CPU seconds of the training without its validations, and its epochs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

import numpy as np
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from recbole_run import settings


def main() -> None:
    folder, name = sys.argv[1:3]
    dim, threads, epochs, every, patience = map(int, sys.argv[3:8])
    step_size, n_items = float(sys.argv[8]), int(sys.argv[9])
    os.chdir(folder)  # RecBole writes logs and checkpoints where it runs
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)
    config = settings("LightGCN", folder, name, dim, n_items)
    config["reg_weight"], config["learning_rate"] = 0.0, step_size
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    model = get_model("LightGCN")(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "LightGCN")(config, model)
    best, waited, wall, cpu, epoch, kept = -1.0, 0, 0.0, 0.0, 0, {}
    while epoch < epochs and waited < patience:
        started, started_cpu = time.perf_counter(), time.process_time()
        trainer._train_epoch(train, epoch)
        wall, cpu, epoch = wall + time.perf_counter() - started, cpu + time.process_time() - started_cpu, epoch + 1
        if epoch % every == 0:
            reached = trainer.evaluate(valid, load_best_model=False)["ndcg@20"]
            waited = waited + 1 if reached <= best else 0
            if reached > best:
                best = reached
                with torch.no_grad():
                    users, items = model()
                kept = {"users": users.numpy().copy(), "items": items.numpy().copy()}
    numbers = {
        f"{side}_numbers": np.array(train.dataset.id2token(field, np.arange(1, train.dataset.num(field))), np.int64)
        for side, field in (("user", "user_id"), ("item", "item_id"))
    }
    np.savez("features.npz", allow_pickle=False, users=kept["users"][1:], items=kept["items"][1:], **numbers)
    print(json.dumps({"wall": wall, "cpu": cpu, "epochs": epoch}))


if __name__ == "__main__":
    main()
