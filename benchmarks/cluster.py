"""A sweep of twelve students, and the blocks of an evaluation, on a cluster of Ray of one and of two nodes of one core each.

What it is held against are two plain processes that share the work on the same two cores. The nodes are processes of this machine.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main
from benchmarks.processes import run_freqd
from freqd.config import EvaluateConfig
from freqd.embeddings import Embeddings
from freqd.evaluate import evaluate
from freqd.numerics.threads import limited
from tasks.runtime.ray_engine import RayBlocks

STUDENTS = [f"rce[random={100 + number}]" for number in range(12)]
COMMON = (
    "threads=1",
    'baselines.models=["popular", "bpr"]',
    "baselines.epochs=1",
    "baselines.weight_decay=1e-3",
    "teacher.kind=als",
)
MINUTE = ("distill.epochs=80", "distill.patience=1000", "distill.eval_every=20")
TINY = ("teacher.factors=16", "teacher.iterations=2", "distill.dim=4", "distill.epochs=2")
MEMORY = 1 << 30
EVALUATIONS = 4
"""As often the evaluation is repeated in a measurement."""


class Sweeps:
    """`freqd compare` of some students, in working directories that hold all but the students."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.settings = [*COMMON, *(TINY if options.tiny else MINUTE)]
        self.compare(root / "before", ["rce"])

    def compare(self, workdir: Path, methods: Sequence[str], *more: str) -> float:
        """Seconds of the command."""
        command = [
            "compare",
            "--data",
            "grocery",
            "--methods",
            *methods,
            "--seeds",
            "1",
        ]
        given = [word for setting in (*self.settings, *more) for word in ("--set", setting)]
        return run_freqd([*command, *given, "--name", "sweep", "--workdir", str(workdir)]).wall

    def measure(self, name: str, *more: str, parts: int = 1) -> Measured:
        """Seconds of the students alone: the command without those of the same command when all is there."""
        folders = [self.root / f"{name}-{part}" for part in range(parts)]
        shares = [STUDENTS[part::parts] for part in range(parts)]
        for folder in folders:
            shutil.copytree(self.root / "before", folder)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            work = [
                threading.Thread(target=self.compare, args=(folder, share, *more))
                for folder, share in zip(folders, shares, strict=True)
            ]
            for each in work:
                each.start()
            for each in work:
                each.join()
            seconds.append(time.perf_counter() - started)
        return Measured(
            f"sweep, {name}",
            (seconds[0] - seconds[1],),
            (),
            None,
            f"{seconds[1]:.0f} s of {seconds[0]:.0f} are its frame",
        )

    def values(self, name: str, parts: int = 1) -> dict[str, str]:
        """NDCG@10 of each student."""
        found = {}
        for part in range(parts):
            with (self.root / f"{name}-{part}" / "comparisons" / "sweep" / "comparison.csv").open() as file:
                found |= {row["method"]: row["ndcg_at_10"] for row in csv.DictReader(file) if row["method"] in STUDENTS}
        return found


def nodes(count: int) -> Cluster:
    """A head without CPUs, and nodes of one."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
    for _ in range(count):
        made.add_node(num_cpus=1, object_store_memory=MEMORY)
    made.wait_for_nodes()
    return made


def on_ray(sweeps: Sweeps, name: str, count: int, *, killed_after: float | None = None) -> Measured:
    """The sweep on nodes, one of which is killed after a while if that is asked for."""
    cluster = nodes(count)
    try:
        if killed_after is not None:
            last = cluster.worker_nodes and sorted(cluster.worker_nodes, key=str)[-1]
            threading.Timer(killed_after, lambda: cluster.remove_node(last, allow_graceful=False)).start()
        return sweeps.measure(name, "engine.kind=ray", f"engine.address={cluster.address}")
    finally:
        cluster.shutdown()


def judged(part: tuple[int, int], shared: tuple[Embeddings, Any, EvaluateConfig]) -> float:
    """The evaluation of every so many users, several times."""
    model, split, config = shared
    among = np.arange(split.n_users) % part[1] == part[0]
    with limited(1):
        for _ in range(EVALUATIONS):
            found = evaluate(model, split, config, among=among)
    return found.metrics["ndcg_at_10"]


def evaluations(options: Options) -> list[Measured]:
    """The blocks of an evaluation: two plain processes, and one and two nodes."""
    dataset = data.load("gowalla", tiny=options.tiny)
    model = data.features(dataset.split, 64)
    shared = (model, dataset.split, EvaluateConfig())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(judged, [((0, 1000), shared)] * 2)  # imports and kernels
        started = time.perf_counter()
        pool.starmap(judged, [((part, 2), shared) for part in range(2)])
        rows = [Measured("evaluation, two plain processes", (time.perf_counter() - started,), (), None)]
    for count in (1, 2):
        cluster = nodes(count)
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            engine = RayBlocks(retries=2)
            evaluate(model, dataset.split, shared[2], engine=engine)
            started = time.perf_counter()
            for _ in range(EVALUATIONS):
                evaluate(model, dataset.split, shared[2], engine=engine)
            rows.append(Measured(f"evaluation, {count} of Ray", (time.perf_counter() - started,), (), None))
        finally:
            ray.shutdown()
            cluster.shutdown()
    return rows


def run(options: Options, limits: Limits) -> Report:
    """Measure, once: it takes the better part of an hour."""
    with tempfile.TemporaryDirectory() as temporary:
        sweeps = Sweeps(Path(temporary), options)
        plain = sweeps.measure("two plain processes", parts=2)
        one, two = on_ray(sweeps, "one node", 1), on_ray(sweeps, "two nodes", 2)
        killed = on_ray(sweeps, "a node killed", 2, killed_after=30.0 + two.wall[0] / 3)
        expected = sweeps.values("two plain processes", 2)
        same = all(sweeps.values(name) == expected for name in ("one node", "two nodes", "a node killed"))
    blocks = evaluations(options)
    seconds = {row.name: row.wall[0] for row in (plain, one, two, killed, *blocks)}
    print(json.dumps(seconds, indent=1), file=sys.stderr)
    gain = plain.wall[0] / two.wall[0]
    return Report(
        "Cluster of Ray: a sweep of 12 students and an evaluation in blocks",
        "grocery; " + data.load("gowalla", tiny=True).label if options.tiny else "grocery; gowalla",
        (plain, one, two, killed, *blocks),
        (
            Figure("two nodes, share of what two plain processes reach, sweep", gain, None, ">= .9"),
            Figure("two nodes against one, sweep", one.wall[0] / two.wall[0], None, "aim 1.8"),
            Figure(
                "two nodes, share of two plain processes, evaluation",
                blocks[0].wall[0] / blocks[2].wall[0],
                None,
                ">= .9",
            ),
            Figure("two nodes against one, evaluation", blocks[1].wall[0] / blocks[2].wall[0], None, "aim 1.8"),
            Figure(
                "work done again after a kill, students",
                (killed.wall[0] - two.wall[0]) / (one.wall[0] / 12),
                None,
                "< 1 lost",
            ),
        ),
        ("The students are the same everywhere." if same else "The students DIFFER.",),
        runs=1,
    )


if __name__ == "__main__":
    main(run)
