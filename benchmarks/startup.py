"""How long a user waits before anything happens: `freqd --help`, and the import of the library, in fresh processes."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.harness import Figure, Limits, Measured, Options, Report, main
from benchmarks.processes import run_process

LIBRARY = "import freqd.data, freqd.graph, freqd.teachers.training, freqd.spectral, freqd.distill, freqd.evaluate, freqd.serve"
COMMANDS = {
    "freqd --help": [str(Path(sys.executable).with_name("freqd")), "--help"],
    "python": [sys.executable, "-c", "pass"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import freqd": [sys.executable, "-c", "import freqd"],
    "import freqd and all stages of the library": [sys.executable, "-c", LIBRARY],
}


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(-1, options.runs):
        for name, command in COMMANDS.items():
            done = run_process(command)
            if turn >= 0:
                taken[name].append((done.wall, done.cpu))
    rows = {
        name: Measured(name, tuple(wall for wall, _ in runs), tuple(cpu for _, cpu in runs), None)
        for name, runs in taken.items()
    }
    everything = rows["import freqd and all stages of the library"]
    return Report(
        "Startup in fresh processes",
        "none",
        tuple(rows.values()),
        (
            Figure("freqd --help, seconds", rows["freqd --help"].seconds, rows["freqd --help"].cpu_seconds, "< 0.5"),
            Figure("import freqd, seconds", rows["import freqd"].seconds, rows["import freqd"].cpu_seconds, "< 1.5"),
            Figure("import of all stages, seconds", everything.seconds, everything.cpu_seconds),
            Figure("import of all stages / import of torch", everything.seconds / rows["import torch"].seconds),
        ),
        (
            "The files are in the system's cache: the first round does not count. The stages of the library need torch, `import freqd` does not.",
        ),
    )


if __name__ == "__main__":
    main(run)
