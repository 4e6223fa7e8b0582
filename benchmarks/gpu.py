"""Absolute times on a GPU, Gowalla: epochs of FreqD and LightGCN, full ranking, end to end (D = 2000, d = 20).

`python -m benchmarks.gpu` needs CUDA; `--device cpu --tiny` shows that the program works without it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import data
from benchmarks.harness import (
    Figure,
    Limits,
    Measured,
    Options,
    Report,
    Work,
    measure,
    measure_limits,
    parser,
    pin,
    show,
)
from benchmarks.lightgcn import LAYERS
from benchmarks.training import LINEAR, context, model_epochs, student_epochs
from benchmarks.whole import TINY, run_of
from freqd.config import GraphConfig, ObjectiveConfig
from freqd.distill import build_objectives
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import top_k
from freqd.graph import build_graphs
from freqd.models.lightgcn import LightGCN
from freqd.spectral.filters import Filter, SideFilters
from freqd.training.device import resolve

K = 20


def run(options: Options, device: str) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    split = dataset.split
    teacher_dim, dim = (32, 4) if options.tiny else (2000, 20)
    rng = np.random.default_rng(0)  # random numbers cost what trained ones do
    teacher, student = (
        Embeddings(*(rng.standard_normal((n, d), dtype=np.float32) for n in (split.n_users, split.n_items)))
        for d in (teacher_dim, dim)
    )
    train = split.train.matrix()
    filters = SideFilters(user=Filter(form="linear", alpha=0.2), item=Filter(form="linear", alpha=0.2))
    surroundings = context(train, teacher, build_graphs(split.train, GraphConfig()), filters, dim, device=device)

    rows: dict[str, Measured] = {}
    for name, objectives in {
        f"BPR epoch, d = {dim}": (),
        f"FreqD epoch, linear projector, D = {teacher_dim}, d = {dim}": (LINEAR,),
        f"FreqD epoch, 5 MLP experts, D = {teacher_dim}, d = {dim}": (ObjectiveConfig(name="freqd"),),
        f"ranking-distillation epoch, D = {teacher_dim}, d = {dim}": (ObjectiveConfig(name="rce"),),
    }.items():
        terms = build_objectives(objectives, surroundings)
        epoch = student_epochs(train, terms, dim=dim, device=device)
        rows |= _measured(name, epoch, options, device)
        epoch.close()
    for d in (dim, teacher_dim):
        epoch = model_epochs(partial(LightGCN, train, d, LAYERS, seed=0), train, [], device=device)
        rows |= _measured(f"LightGCN epoch, d = {d}", epoch, options, device)
        epoch.close()
    for table in (student, teacher):
        name = f"full ranking, top {K}, d = {table.dim}, on the CPU"
        rows |= measure({name: partial(top_k, table, train, K)}, options)
    settings = [
        f"threads={options.threads}",
        f"device={device}",
        *(TINY if options.tiny else ("teacher.factors=2000",)),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        done, _ = run_of(split, settings, Path(temporary))
    rows["end to end"] = Measured(
        "end to end: freqd run",
        (done.wall,),
        (done.cpu,),
        done.peak_bytes,
        "once; ALS runs on the CPU; memory of the host",
    )
    return Report(
        f"On {_name(device)}",
        dataset.label,
        tuple(rows.values()),
        tuple(Figure(f"{row.name}, seconds", row.seconds, row.cpu_seconds) for row in rows.values()),
        ("Memory of epochs on CUDA is the device's.",),
    )


def _measured(name: str, work: Work, options: Options, device: str) -> dict[str, Measured]:
    """As ``measure``, with the device's memory in the place of the host's; an epoch ends with a wait for the device."""
    if resolve(device).type != "cuda":
        return measure({name: work}, options)
    torch.cuda.reset_peak_memory_stats(device)
    found = measure({name: work}, options)[name]
    peak = int(torch.cuda.max_memory_allocated(device))
    return {name: Measured(name, found.wall, found.cpu, peak, "memory of the device")}


def _name(device: str) -> str:
    resolved = resolve(device)
    return torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else "the CPU"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ends with a message where there is no such device."""
    command_line = parser(str(__doc__))
    command_line.add_argument("--device", default="cuda", help="cuda (default), cuda:N or cpu")
    given = vars(command_line.parse_args(arguments))
    device = given.pop("device")
    options = Options(**given)
    try:
        resolve(device)
    except InputError as error:
        raise SystemExit(f"nothing measured: {error.problem}; remedy: {error.remedy}") from error
    pin(options)
    limits: Limits = measure_limits(options)
    show(run(options, device), limits, options)


if __name__ == "__main__":
    main()
