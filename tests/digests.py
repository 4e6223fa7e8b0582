"""``python tests/digests.py``: the digests of all artifacts of three small jobs, to hold one state of the code against another.

Keys may change with the code, contents may not: the same lines before and after mean the same numbers to the last bit.
``FREQD_DATA_DIR`` has to name the folder of the real data sets.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

JOBS = {
    "demo": ["run", "--preset", "quick"],
    "movielens-100k": ["run", "--data", "movielens-100k", "--preset", "quick"],
    "comparison": [
        *("compare", "--data", "movielens-100k", "--preset", "quick", "--methods", "fitnet,rce,freqd+rce", "--seeds", "1"),
    ],
}  # fmt: skip


def digests(store: Path) -> list[str]:
    """``kind digest`` of each artifact in a store."""
    return sorted(
        f"{path.parent.name} {path.name}" for path in (store / "artifacts").glob("*/*") if path.name[0] != "."
    )


def main() -> None:
    """Run the jobs, each in a working directory of its own."""
    freqd = str(Path(sys.executable).with_name("freqd"))
    for name, arguments in JOBS.items():
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([freqd, *arguments, "--workdir", folder], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr}")
            print(*(f"{name} {line}" for line in digests(Path(folder) / "store")), sep="\n", flush=True)


if __name__ == "__main__":
    main()
