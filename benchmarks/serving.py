"""What compression and an index buy when recommendations are served. Not part of the suite: it takes two cores by itself.

    python -m benchmarks.serving http --workdir freqd-work --from last
    python -m benchmarks.serving index --items 2000000

`http` serves student and teacher of a run in turn by `freqd serve --from RUN --model MODEL`, on one core, and asks from
the other with public load generators: `hey` at 500 questions a second, `wrk` as fast as it can (Debian has both).
`index` asks one question after the other of made-up items in clusters, exact and by the index, without HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil

from flows.cli.options import find_run
from freqd.config import IndexConfig
from freqd.embeddings import Embeddings
from freqd.evaluate.faiss_index import build
from freqd.numerics.threads import one_blas_thread
from freqd.report.run_result import RunResult
from freqd.serve import TopKIndex
from tasks.mlops.model_source import OfRun

MODELS = ("student", "teacher")
RATE = 500
K = 20
CLUSTERS, SPREAD, NORM_SPREAD = 2000, 0.5, 0.6
"""Made-up items: centres, distance from them, and the spread of the logarithm of the norms, which popularity makes."""


@dataclass(frozen=True)
class Load:
    """What a load generator saw: questions answered a second, and milliseconds of an answer."""

    rate: float
    p50: float
    p99: float


def read_hey(text: str) -> Load:
    """From what `hey` prints."""
    answered = re.findall(r"\[(\d+)\]\s+\d+ responses", text)
    if answered != ["200"]:
        raise SystemExit(f"not every question was answered with 200:\n{text}")
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    p50, p99 = (1e3 * float(re.findall(rf"{share}% in ([\d.]+) secs", text)[0]) for share in (50, 99))
    return Load(rate, p50, p99)


def read_wrk(text: str) -> Load:
    """From what `wrk --latency` prints."""
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"not every question was answered with 200:\n{text}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    found = {share: float(n) * units[unit] for share, n, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return Load(float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0]), found["50"], found["99"])


def generators(seconds: int) -> dict[str, tuple[list[str], Callable[[str], Load]]]:
    """The loads by name: command, to which the address is added, and who reads what it prints.

    `hey` waits for an answer before it asks again on a connection, so four of them share the rate.
    """
    return {
        f"{RATE} a second, 1 connection (hey)": (["hey", "-z", f"{seconds}s", "-c", "1", "-q", str(RATE)], read_hey),
        f"{RATE} a second, 4 connections (hey)": (
            ["hey", "-z", f"{seconds}s", "-c", "4", "-q", str(RATE // 4)],
            read_hey,
        ),
        "as fast as it can, 8 connections (wrk)": (["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency"], read_wrk),
    }


def _on(core: int, command: list[str]) -> list[str]:
    """The command on one core, if there are two of them to be kept apart."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[core]), *command] if len(cores) > 1 and shutil.which("taskset") else command


@contextmanager
def served(workdir: Path, run: str, model: str) -> Iterator[tuple[str, int]]:
    """`freqd serve` of a model of a run: its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    freqd = str(Path(sys.executable).with_name("freqd"))
    words = ["serve", "--workdir", str(workdir), "--from", run, "--model", model, "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(_on(0, [freqd, *words]), env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the {model} is not served: {error}") from error
                time.sleep(0.2)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def http(workdir: Path, run: str, seconds: int, repeats: int) -> dict[str, object]:
    """Student and teacher in turn, ``repeats`` times; each figure is that of all repeats."""
    loads = generators(seconds)
    missing = sorted({command[0] for command, _ in loads.values() if shutil.which(command[0]) is None})
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; on Debian: apt-get install hey wrk")
    workspace, folder = find_run(workdir, run)
    result = RunResult.load(folder / "summary.json")
    found: dict[str, dict[str, list[Load]]] = {model: {name: [] for name in loads} for model in MODELS}
    memory: dict[str, int] = {}
    size: dict[str, int] = {}
    user = ""
    for model in MODELS:
        recommender = OfRun(workspace, result, model).load(model)
        user = str(recommender.user_ids[len(recommender.user_ids) // 2])
        size[model] = recommender.features.users.nbytes + recommender.features.items.nbytes
        n_items = len(recommender.item_ids)
        del recommender
    for _ in range(repeats):
        for model in MODELS:
            with served(workdir, folder.name, model) as (address, pid):
                question = f"{address}/recommend/{quote(user, safe='')}?k={K}"
                for _ in range(50):
                    urllib.request.urlopen(question, timeout=10).close()
                for name, (command, read) in loads.items():
                    done = subprocess.run(_on(1, [*command, question]), capture_output=True, text=True, check=True)
                    found[model][name].append(read(done.stdout))
                memory[model] = psutil.Process(pid).memory_info().rss
    _print_http(n_items, size, memory, found)
    return {
        "items": n_items,
        "features_bytes": size,
        "memory_bytes": memory,
        "loads": {m: {n: [asdict(load) for load in some] for n, some in by.items()} for m, by in found.items()},
    }


def _print_http(
    n_items: int, size: dict[str, int], memory: dict[str, int], found: dict[str, dict[str, list[Load]]]
) -> None:
    print(f"Top {K} of {n_items:,} items, GET /recommend/USER?k={K}, server on one core, load on another.\n")
    print(f"| | {' | '.join(MODELS)} |\n|---|{'---|' * len(MODELS)}")
    for text, values in (("features", size), ("the server's memory", memory)):
        print(f"| {text} | {' | '.join(f'{values[model] / 1e6:.1f} MB' for model in MODELS)} |")
    for name in found[MODELS[0]]:
        print(f"| {name}: answered, p50, p99 | {' | '.join(_cell(found[model][name]) for model in MODELS)} |")


def _cell(loads: list[Load]) -> str:
    def span(values: list[float], digits: int) -> str:
        low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    parts = ([load.rate for load in loads], [load.p50 for load in loads], [load.p99 for load in loads])
    return f"{span(parts[0], 0)}/s, {span(parts[1], 1)} ms, {span(parts[2], 1)} ms"


def made_up(n_items: int, dim: int, n_users: int, seed: int = 0) -> Embeddings:
    """Items around centres, with norms as popularity makes them, and users around the same centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, dim), dtype=np.float32)

    def around(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return centres[rng.integers(0, CLUSTERS, n)] + np.float32(SPREAD) * rng.standard_normal((n, dim), np.float32)

    items = around(n_items) * np.exp(NORM_SPREAD * rng.standard_normal((n_items, 1), np.float32))
    return Embeddings(around(n_users), items)


def index(n_items: int, dim: int, questions: int, recalls: list[float]) -> dict[str, object]:
    """One question after the other: exact, and by an index for each recall that is asked for."""
    made = made_up(n_items, dim, max(2000, questions))
    features = Embeddings(made.users, np.asfortranarray(made.items))
    asked = TopKIndex(features)
    rows: list[dict[str, float | str]] = []

    def measure(name: str, **more: float) -> None:
        with one_blas_thread():
            taken = []
            for row in range(questions):
                began = time.perf_counter()
                asked.recommend(row, K)
                taken.append(1e3 * (time.perf_counter() - began))
        p50, p99 = (float(np.percentile(taken, share)) for share in (50, 99))
        rows.append({"how": name, **more, "p50_ms": p50, "p99_ms": p99, "mean_ms": statistics.fmean(taken)})

    measure("exact")
    for recall in recalls:
        asked.approximate = build(features, IndexConfig(kind="faiss", recall=recall))
        print(asked.approximate)
        measure(f"recall {recall:g} asked", recall=asked.approximate.recall, build_seconds=asked.approximate.seconds)
    print(f"\nTop {K} of {n_items:,} items x {dim} numbers, one question at a time, {questions} questions.\n")
    print("| | recall | built in | p50 | p99 |\n|---|---|---|---|---|")
    for row in rows:
        built = f"{row['build_seconds']:.1f} s" if "build_seconds" in row else ""
        print(
            f"| {row['how']} | {row.get('recall', 1.0):.3f} | {built} | {row['p50_ms']:.2f} ms | {row['p99_ms']:.2f} ms |"
        )
    return {"items": n_items, "dim": dim, "questions": questions, "rows": rows}


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    over = commands.add_parser("http", help="student and teacher of a run")
    over.add_argument("--workdir", type=Path, default=Path("freqd-work"))
    over.add_argument("--from", dest="run", default="last", help="the run")
    over.add_argument("--seconds", type=int, default=10, help="of each load")
    over.add_argument("--repeats", type=int, default=2, help="of all loads")
    many = commands.add_parser("index", help="exact against an index")
    many.add_argument("--items", type=int, default=2_000_000)
    many.add_argument("--dim", type=int, default=20)
    many.add_argument("--questions", type=int, default=1000)
    many.add_argument("--recalls", type=float, nargs="+", default=[0.9, 0.98])
    for one in (over, many):
        one.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args(arguments)
    if options.command == "http":
        found = http(options.workdir, options.run, options.seconds, options.repeats)
    else:
        found = index(options.items, options.dim, options.questions, options.recalls)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
