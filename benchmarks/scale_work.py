"""The stages of the benchmark `scale`, each in a process of its own that prints one JSON object."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from benchmarks import data
from benchmarks.harness import memory_peak, reset_peak
from benchmarks.scaled import Scale, counted_pairs, scaled
from benchmarks.training import LINEAR, context, student_epochs
from freqd.config import DataConfig, GraphConfig
from freqd.data import Interactions, Places, ingest
from freqd.distill import build_objectives
from freqd.embeddings import Embeddings
from freqd.graph import Graphs, build_graphs
from freqd.spectral.filters import Filter, SideFilters
from freqd.storage.store import Store
from tasks.runtime.resources import free_memory

FILE_ROWS = 10_000_000
TEACHER_DIM, DIM = 64, 20


def original(tiny: bool) -> Interactions:
    """All pairs of Gowalla, train and test."""
    split = data.load("gowalla", tiny=tiny).split
    return data.joined(split.train, split.test)


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall and CPU seconds, and the most memory of the whole process meanwhile."""
    reset_peak()
    started, started_cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    return {"wall": wall, "cpu": cpu, "peak_bytes": memory_peak()}, result


def make(folder: Path, scale: Scale, tiny: bool) -> dict[str, Any]:
    """Write the pairs as Parquet files of ``FILE_ROWS`` rows."""
    pairs = scaled(original(tiny), scale, seed=0)
    for number, first in enumerate(range(0, len(pairs), FILE_ROWS)):
        rows = slice(first, first + FILE_ROWS)
        frame = pl.DataFrame({"user": pairs.user[rows], "item": pairs.item[rows]})
        frame.write_parquet(folder / f"part-{number:03d}.parquet")
    return {"rows": len(pairs), "users": pairs.n_users, "items": pairs.n_items}


def read(folder: Path, scale: Scale, tiny: bool) -> dict[str, Any]:
    """From the files to a split in a store on disk."""
    config = DataConfig(source=(str(folder / "*.parquet"),))
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        store = Store(Path(temporary))

        def work() -> Any:
            places = Places(None, Path(temporary) / "cache")
            split = ingest(config, seed=0, places=places, memory=free_memory())
            store.save(split)
            return split.info

        found, info = timed(work)
    return {"ingest": found, "kept": info.kept.model_dump()}


def learn(folder: Path, scale: Scale, tiny: bool) -> dict[str, Any]:
    """Graphs of all pairs, then one pass of FreqD over them; the teacher's numbers are random, which costs the same."""
    _compile()
    pairs = scaled(original(tiny), scale, seed=0)
    found: dict[str, Any] = {
        "interactions": len(pairs),
        "users": pairs.n_users,
        "items": pairs.n_items,
        "counted_pairs": counted_pairs(pairs),
    }
    found["graphs"], graphs = timed(partial(build_graphs, pairs, GraphConfig()))
    train = pairs.matrix()
    del pairs
    found["pass"], _ = timed(lambda: freqd_pass(train, graphs))
    return found


def freqd_pass(train: sparse.csr_array, graphs: Graphs) -> None:
    """One epoch of a student with the FreqD term, its preparation included."""
    rng = np.random.default_rng(0)
    teacher = Embeddings(*(rng.standard_normal((n, TEACHER_DIM), dtype=np.float32) for n in train.shape))
    filters = SideFilters(user=Filter(form="linear", alpha=0.2), item=Filter(form="linear", alpha=0.2))
    surroundings = context(train, teacher, graphs, filters, DIM)
    terms = build_objectives([LINEAR], surroundings)
    epoch = student_epochs(train, terms, dim=DIM)
    epoch()
    epoch.close()


def _compile() -> None:
    """All kernels, on tiny data."""
    pairs = scaled(original(True), Scale(1, 1, 1000), seed=0)
    freqd_pass(pairs.matrix(), build_graphs(pairs, GraphConfig()))


STAGES = {"make": make, "read": read, "learn": learn}


if __name__ == "__main__":
    stage, folder, tiny, *numbers = sys.argv[1:]
    print(json.dumps(STAGES[stage](Path(folder), Scale(*map(int, numbers)), tiny == "tiny")))
