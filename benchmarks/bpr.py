"""An epoch of MF-BPR, d = 64, against implicit's BayesianPersonalizedRanking at the same d."""

from __future__ import annotations

from collections.abc import Callable

from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Epochs, Figure, Limits, Options, Report, main, measure, ratio
from benchmarks.training import BATCH, FOREVER, student_epochs


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    dim = 8 if options.tiny else 64
    train = dataset.split.train.matrix()

    def implicit_training(lap: Callable[[], None]) -> object:
        model = BayesianPersonalizedRanking(
            factors=dim, iterations=FOREVER, num_threads=options.threads, random_state=0
        )
        return model.fit(sparse.csr_matrix(train), show_progress=False, callback=lambda *progress: lap())

    works = {
        "freqd, Adam, batch 2048": student_epochs(train, [], dim=dim, weight_decay=1e-3),
        "implicit, plain SGD": Epochs(implicit_training),
    }
    found = measure(works, options)
    for work in works.values():
        work.close()
    ours, theirs = found.values()
    # Three rows of d numbers a triple, moved once; gradients and Adam's two moments come on top of it.
    moved = 3.0 * train.nnz * dim * 4
    return Report(
        f"MF-BPR epoch, d = {dim}, batch {BATCH}",
        dataset.label,
        tuple(found.values()),
        (
            ratio("freqd / implicit, an epoch", ours, theirs),
            Figure("freqd / copying the rows of all triples once", ours.seconds / (moved / limits.copy_bytes)),
        ),
        (
            "An epoch is one pass over the interactions in both, but not the same progress: implicit takes a plain "
            "SGD step a triple, freqd an Adam step a batch.",
        ),
    )


if __name__ == "__main__":
    main(run)
