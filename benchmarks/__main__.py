"""All benchmarks, each in a process of its own; one table after the other, and one JSON file for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import parser, thread_environment

NAMES = (
    *(
        "startup",
        "reading",
        "ranking",
        "graphs",
        "freqd_epoch",
        "rank_epoch",
        "bpr",
        "time_to_quality",
        "lightgcn",
        "recbole",
    ),
    *("spectral", "whole"),
)
"""``scale`` and ``gpu`` are not here: the one takes 11 GiB of memory, the other needs a GPU."""


def run_all() -> None:
    """Run them; a failed one does not keep the others from running, but from success."""
    command_line = parser(str(__doc__))
    command_line.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these benchmarks only")
    options = command_line.parse_args()
    shared = ["--threads", str(options.threads), "--runs", str(options.runs), *(["--tiny"] if options.tiny else [])]
    environment = os.environ | thread_environment(options.threads)
    found, failed = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            file = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", *shared, "--json", str(file)]
            if subprocess.run(command, env=environment).returncode:
                failed.append(name)
            else:
                found[name] = json.loads(file.read_text())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    run_all()
