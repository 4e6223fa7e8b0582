"""The whole main job on Gowalla, from the pairs to a registered student of 20 numbers: `freqd run`, as a user runs it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main
from benchmarks.processes import Finished, run_freqd
from freqd.data import Split

TINY = (
    "teacher.kind=als",
    "teacher.factors=16",
    "teacher.iterations=2",
    "distill.dim=4",
    "distill.epochs=4",
    "baselines.epochs=4",
)


def run(options: Options, limits: Limits) -> Report:
    """Measure, once: it takes minutes."""
    dataset = data.load("gowalla", tiny=options.tiny)
    settings = [f"threads={options.threads}", "device=cpu", *(TINY if options.tiny else ())]
    with tempfile.TemporaryDirectory() as temporary:
        done, summary = run_of(dataset.split, settings, Path(temporary))
    stages = [stage for stage in summary["stages"] if not stage["cached"]]
    rows = [Measured("freqd run", (done.wall,), (done.cpu,), done.peak_bytes, "memory of all its processes")]
    rows += [
        Measured(f"stage {stage['name']}", (stage["seconds"],), (), stage["peak_bytes"], "memory of the run's process")
        for stage in stages
    ]
    most = max(stage["peak_bytes"] for stage in stages)
    ndcg = {name: values["ndcg_at_10"] for name, values in summary["metrics"].items()}
    return Report(
        "freqd run on Gowalla, defaults",
        dataset.label,
        tuple(rows),
        (
            Figure("freqd run, minutes", done.wall / 60, done.cpu / 60, "< 4"),
            Figure("peak of the run's process, GiB", most / 2**30, None, "< 2"),
            Figure("peak with Prefect's temporary server, GiB", done.peak_bytes / 2**30),
        ),
        (
            "Trainings have time budgets, so a slower machine ends with a lower NDCG rather than later: "
            + ", ".join(f"{name} {value:.4f}" for name, value in ndcg.items())
            + " (NDCG@10, test).",
        ),
        runs=1,
    )


def run_of(split: Split, settings: list[str], folder: Path) -> tuple[Finished, dict[str, Any]]:
    """`freqd run` on the train and test part of ``split``, and its summary."""
    for part in ("train", "test"):
        pairs = split.part(part)
        pl.DataFrame({"user": pairs.user, "item": pairs.item}).write_parquet(folder / f"{part}.parquet")
    files = [f"--{part}={folder / part}.parquet" for part in ("train", "test")]
    places = ["--workdir", str(folder / "work"), "--summary", str(folder / "summary.json")]
    done = run_freqd(["run", *files, "--set", *settings, *places])
    return done, json.loads((folder / "summary.json").read_text())


if __name__ == "__main__":
    main(run)
