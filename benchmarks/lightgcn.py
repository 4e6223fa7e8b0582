"""An epoch of LightGCN on Gowalla, d = 64, 3 layers, against a plain torch program."""

from __future__ import annotations

from benchmarks import data
from benchmarks.harness import Figure, Limits, Options, Report, main, measure, ratio
from benchmarks.plain import lightgcn
from benchmarks.training import BATCH, model_epochs, some_steps
from freqd.models.lightgcn import LightGCN

STEPS = 10
LAYERS = 3


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    train = dataset.split.train.matrix()
    dim = 8 if options.tiny else 64
    pairs, factor = some_steps(train, STEPS)
    ours = model_epochs(lambda: LightGCN(train, dim, LAYERS, seed=0), pairs, [], weight_decay=1e-4)
    plain = lightgcn(train, pairs, dim=dim, layers=LAYERS, batch_size=BATCH)
    found = measure({"freqd": ours, "plain torch": plain}, options)
    ours.close()
    note = f"extrapolated: {-(-pairs.nnz // BATCH)} steps timed, x {factor:.3g} an epoch"
    rows = {name: row.scaled(factor, note) for name, row in found.items()}
    steps = -(-train.nnz // BATCH)
    # Forward and backward multiply the graph, which holds every pair twice, once a layer each.
    flops = steps * 2 * LAYERS * 2.0 * (2 * train.nnz) * dim
    return Report(
        f"LightGCN epoch, d = {dim}, {LAYERS} layers, batch {BATCH}",
        dataset.label,
        tuple(rows.values()),
        (
            Figure("freqd, seconds an epoch", rows["freqd"].seconds, rows["freqd"].cpu_seconds),
            ratio("plain torch / freqd", rows["plain torch"], rows["freqd"]),
            Figure(
                "freqd / its sparse products at the measured GEMM FLOP/s",
                rows["freqd"].seconds * limits.gemm_flops / flops,
            ),
        ),
        (
            "The plain program is LightGCN as its authors' torch code does it: the coalesced sparse graph times all rows, a "
            "layer after the other, autograd, and Adam over all rows. RecBole's is in the benchmark `recbole`.",
        ),
    )


if __name__ == "__main__":
    main(run)
