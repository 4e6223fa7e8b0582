"""100 million interactions: ingest to a split on disk, co-occurrence graphs, and one pass of FreqD.

The data are copies of Gowalla tied together (see ``scaled``). For ingest there are as many copies of the items as of the
users, so that the degrees are Gowalla's; for graphs and FreqD there are 5 million users and 1 million items. Costs an
interaction are compared with those at a million. Graphs are compared at 4.2 million as well, the least that has the
same degrees: the work of counting grows with the squares of the degrees, and an item of the big data has 3.4 times the
users that one at a million has.

Takes a quarter of an hour on one idle core, 3 GB of disk and 11 GiB of memory, so it is no part of the suite: `make bench-scale`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, thread_environment
from benchmarks.processes import run_process
from benchmarks.scale_work import DIM, TEACHER_DIM
from benchmarks.scaled import TIE, Scale

INGEST = Scale(98, 98, 100_000_000)
BASE, SAME_DEGREES, BIG = Scale(2, 1, 1_000_000), Scale(7, 1, 4_200_000), Scale(168, 25, 100_000_000)
TINY_INGEST, TINY = Scale(3, 3, 10_000), (Scale(2, 1, 3_000), Scale(7, 1, 15_000), Scale(14, 2, 30_000))


def run(options: Options, limits: Limits) -> Report:
    """Measure, once: the machine's moods weigh little in minutes of work."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = stage("make", folder, TINY_INGEST if options.tiny else INGEST, options)
        read = stage("read", folder, TINY_INGEST if options.tiny else INGEST, options)
        base, same, big = (
            stage("learn", folder, scale, options) for scale in (TINY if options.tiny else (BASE, SAME_DEGREES, BIG))
        )
    rows = [_row(f"ingest of {made['rows']:,} rows", read["ingest"])]
    for found in (base, same, big):
        size = f"{found['interactions']:,} interactions"
        rows += [_row(f"graphs, {size}", found["graphs"]), _row(f"one pass of FreqD, {size}", found["pass"])]
    ingest = read["ingest"]
    return Report(
        "100 million interactions",
        f"Gowalla in copies, {TIE:.0%} of the pairs tie copies together: ingest {made['users']:,} users and {made['items']:,} "
        f"items; the rest {big['users']:,} users and {big['items']:,} items",
        tuple(rows),
        (
            Figure("ingest, seconds", ingest["wall"], ingest["cpu"], "< 180"),
            Figure("ingest, peak of the process in GiB", ingest["peak_bytes"] / 2**30, None, "< 8"),
            Figure("graphs and FreqD, peak of the process in GiB", _peak(big) / 2**30, None, "< 24"),
            _cost("one pass of FreqD, an interaction, 100 million / 1 million", "pass", big, base, "<= 1.5"),
            _cost("graphs and one pass, an interaction, 100 million / 1 million", "both", big, base, "<= 1.5"),
            _cost("graphs and one pass, an interaction, 100 million / same degrees", "both", big, same, "<= 1.5"),
            _cost("graphs, an interaction, 100 million / same degrees", "graphs", big, same, "<= 1.5"),
            _cost("graphs, a counted pair, 100 million / 1 million", "graphs", big, base, "", unit="counted_pairs"),
        ),
        (
            f"Each in a process of its own; memory is the whole process's. FreqD: teacher of {TEACHER_DIM} random "
            f"numbers, student of {DIM}, linear filter and projector, preparation included.",
        ),
        runs=1,
    )


def stage(name: str, folder: Path, scale: Scale, options: Options) -> dict[str, Any]:
    """What a stage of ``scale_work`` found, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_work", name, str(folder), "tiny" if options.tiny else "full"]
    environment = os.environ | thread_environment(options.threads)
    done = run_process([*command, *map(str, astuple(scale))], environment=environment)
    found: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return found


def _row(name: str, found: dict[str, Any]) -> Measured:
    return Measured(name, (found["wall"],), (found["cpu"],), found["peak_bytes"], "memory of the whole process")


def _peak(found: dict[str, Any]) -> int:
    return max(int(found[work]["peak_bytes"]) for work in ("graphs", "pass"))


def _cost(
    text: str, work: str, large: dict[str, Any], small: dict[str, Any], target: str, *, unit: str = "interactions"
) -> Figure:
    """Cost a unit of the large data as a multiple of the small one's."""
    works = ("graphs", "pass") if work == "both" else (work,)
    wall, cpu = (
        (sum(large[w][clock] for w in works) / large[unit]) / (sum(small[w][clock] for w in works) / small[unit])
        for clock in ("wall", "cpu")
    )
    return Figure(text, wall, cpu, target)


if __name__ == "__main__":
    main(run)
