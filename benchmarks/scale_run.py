"""`freqd run` of 100 million interactions, from Parquet files to a registered student, and recommendations for 1 % of the users.

Gowalla in copies (see ``scaled``): 5 million users, 1 million items. Takes hours, some 20 GB of disk and memory, so it is no part of the suite:
`make bench-scale`. What is there already is not done again: in the folder that FREQD_SCALE_FOLDER names a run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, thread_environment
from benchmarks.processes import run_freqd
from benchmarks.scale import stage
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
def folder(needed: int) -> Iterator[Path]:
    """Where data and working directory lie, if so many bytes are free there."""
    kept = os.environ.get(FOLDER)
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
        if free < needed:
            raise SystemExit(f"{place} has {free / 2**30:.0f} GiB free, {needed / 2**30:.0f} are needed")
        yield place


def run(options: Options, limits: Limits) -> Report:
    """Measure, once."""
    with folder(0 if options.tiny else FREE_BYTES) as place:
        return _measured(place, options)


def _measured(place: Path, options: Options) -> Report:
    data, work = place / "data", place / "work"
    if not data.is_dir():
        made = place / "making"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        stage("make", made, TINY if options.tiny else LARGE, options)
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
    environment = thread_environment(options.threads)
    whole = run_freqd([*words, *(word for setting in settings for word in ("--set", setting))], environment)
    summary: dict[str, Any] = json.loads((work / "runs" / "large" / "summary.json").read_text())
    users = pl.read_parquet(data / "*.parquet", columns=["user"])["user"].unique().sort()
    chosen = np.random.default_rng(0).permutation(len(users))[: max(round(SHARE * len(users)), 1)]
    pl.DataFrame({"user": users.gather(np.sort(chosen))}).write_csv(place / "users.csv")
    lists = run_freqd(
        [
            "recommend",
            "--users",
            str(place / "users.csv"),
            "--out",
            str(place / "lists.parquet"),
            "--workdir",
            str(work),
        ],
        environment,
    )
    rows = [
        Measured(
            f"stage {found['name']}",
            (found["seconds"],),
            (),
            found["peak_bytes"],
            "from the cache" if found["cached"] else "",
        )
        for found in summary["stages"]
    ]
    rows.append(Measured("the command as a whole", (whole.wall,), (whole.cpu,), whole.peak_bytes))
    rows.append(Measured(f"recommendations for {len(chosen):,} users", (lists.wall,), (lists.cpu,), lists.peak_bytes))
    hours = (sum(found["seconds"] for found in summary["stages"]) + lists.wall) / 3600
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
