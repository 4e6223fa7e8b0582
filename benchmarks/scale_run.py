"""`freqd run` of 100 million interactions, from Parquet files to a registered student, and recommendations for 1 % of the users.

Gowalla in copies (see ``scaled``): 5 million users, 1 million items. Takes hours, some 20 GB of disk and memory, so it is no part of the suite:
`make bench-scale`. What is there already is not done again: in the folder that FREQD_SCALE_FOLDER names a run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, thread_environment
from benchmarks.processes import Finished, run_freqd, run_process
from benchmarks.scaled import Scale

LARGE, TINY = Scale(168, 25, 100_000_000), Scale(6, 2, 30_000)
SETTINGS = (
    "data.split=random",
    "teacher.kind=lowpass",
    "teacher.factors=[64]",
    "baselines.models=none",
    "registry.refit=none",
    "registry.first_not_worse=false",
    "distill.epochs=8",
    "index.recall=0.9",
    "evaluate.users=100000",
    "report.samples=0",
)
SHARE = 0.01
"""Of the users, who get recommendations."""
FREE_BYTES = 40 << 30
FOLDER = "FREQD_SCALE_FOLDER"
"""Names a folder that is kept, for a run that is to go on where it stopped."""


@contextmanager
def folder() -> Iterator[Path]:
    """Where data and working directory lie."""
    kept = os.environ.get(FOLDER)
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def command(words: list[str], options: Options) -> Finished:
    """`freqd` with these words."""
    return run_freqd(words, thread_environment(options.threads))


def run(options: Options, limits: Limits) -> Report:
    """Measure, once."""
    with folder() as place:
        free = shutil.disk_usage(place).free
        if not options.tiny and free < FREE_BYTES:
            raise SystemExit(f"{place} has {free / 2**30:.0f} GiB free, {FREE_BYTES / 2**30:.0f} are needed")
        return _measured(place, options)


def _measured(place: Path, options: Options) -> Report:
    data, work = place / "data", place / "work"
    if not data.is_dir():
        made = place / "making"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        size = "tiny" if options.tiny else "full"
        scale = map(str, astuple(TINY if options.tiny else LARGE))
        run_process([sys.executable, "-m", "benchmarks.scale_work", "make", str(made), size, *scale])
        made.rename(data)
    settings = [*SETTINGS, f"threads={options.threads}"]
    if options.tiny:
        settings += [
            "teacher.factors=[8]",
            "distill.dim=4",
            "distill.epochs=2",
            "evaluate.users=100",
            "index.kind=faiss",
            "distill.shards=2",
        ]
    words = ["run", "--data", str(data / "*.parquet"), "--workdir", str(work), "--name", "large"]
    whole = command([*words, *(word for setting in settings for word in ("--set", setting))], options)
    summary: dict[str, Any] = json.loads((work / "runs" / "large" / "summary.json").read_text())
    users = pl.read_parquet(data / "*.parquet", columns=["user"])["user"].unique().sort()
    chosen = np.random.default_rng(0).permutation(len(users))[: max(round(SHARE * len(users)), 1)]
    pl.DataFrame({"user": users.gather(np.sort(chosen))}).write_csv(place / "users.csv")
    lists = command(
        [
            "recommend",
            "--users",
            str(place / "users.csv"),
            "--out",
            str(place / "lists.parquet"),
            "--workdir",
            str(work),
        ],
        options,
    )
    rows = [
        Measured(
            f"stage {stage['name']}",
            (stage["seconds"],),
            (),
            stage["peak_bytes"],
            "from the cache" if stage["cached"] else "",
        )
        for stage in summary["stages"]
    ]
    rows.append(Measured("the command as a whole", (whole.wall,), (whole.cpu,), whole.peak_bytes))
    rows.append(Measured(f"recommendations for {len(chosen):,} users", (lists.wall,), (lists.cpu,), lists.peak_bytes))
    hours = (sum(stage["seconds"] for stage in summary["stages"]) + lists.wall) / 3600
    peak = max(whole.peak_bytes, lists.peak_bytes) / 2**30
    counts, student = summary["data"], summary["metrics"]["student"]["ndcg_at_10"]
    return Report(
        "100 million interactions, from files to a registered student",
        f"Gowalla in copies: {counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions",
        tuple(rows),
        (
            Figure("all stages and the recommendations, hours", hours, None, "< 2.5"),
            Figure("peak, processes together, GiB", peak, None, "< 24"),
            Figure("test NDCG@10 of the student", student),
            Figure("the same of the teacher", summary["metrics"]["teacher"]["ndcg_at_10"]),
        ),
        (f"Settings: {', '.join(settings)}.",),
        runs=1,
    )


if __name__ == "__main__":
    main(run)
