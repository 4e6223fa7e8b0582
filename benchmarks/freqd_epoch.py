"""FreqD's epoch in each of its forms: beside the same student alone, and beside what a matrix product takes (D = 400, d = 20)."""

from __future__ import annotations

from itertools import islice

import torch
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Figure, Limits, Options, Report, main, measure, ratio
from benchmarks.plain import published_freqd
from benchmarks.training import BATCH, context, student_epochs
from freqd.config import GraphConfig, ObjectiveConfig
from freqd.distill import build_objectives
from freqd.distill.feature_loss import unique_rows
from freqd.graph import build_graphs
from freqd.spectral.filters import Filter, SideFilters
from freqd.training.sampling import Sampler

PUBLISHED_STEPS = 2
EXPERTS, SAMPLE = 5, 512
FORMS: dict[str, dict[str, str | int]] = {
    "experts": {"projector": "experts", "experts": EXPERTS, "sample": SAMPLE},
    "tied": {"projector": "tied", "sample": SAMPLE},
    "student-space": {"projector": "student-space", "sample": SAMPLE},
}


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("citeulike", tiny=options.tiny)
    split = dataset.split
    teacher_dim, dim = (12, 4) if options.tiny else (400, 20)
    teacher = data.features(split, teacher_dim)
    graphs = build_graphs(split.train, GraphConfig(user_neighbours=5, item_neighbours=5))
    filters = SideFilters(user=Filter(form="linear", alpha=0.5), item=Filter(form="linear", alpha=0.5))
    surroundings = context(split.train.matrix(), teacher, graphs, filters, dim)
    train = surroundings.train

    epochs = {"student alone": student_epochs(train, [], dim=dim)}
    for form, chosen in FORMS.items():
        terms = build_objectives([ObjectiveConfig(name="freqd", options=chosen)], surroundings)
        epochs[f"freqd, {form}"] = student_epochs(train, terms, dim=dim)
    found = measure(epochs, options)
    for work in epochs.values():
        work.close()

    step, n_steps = published_freqd(train, teacher, graphs, filters, dim=dim, projector="experts", batch_size=BATCH)
    name = "published order, experts"
    measured = measure({name: step}, options, few={name: PUBLISHED_STEPS})[name]
    found[name] = measured.scaled(n_steps, f"extrapolated: {len(measured.wall)} step(s) timed, x {n_steps} an epoch")

    alone, rows = found["student alone"], rows_of_a_step(train)
    operations = {  # of a row, forward and both gradients
        "experts": 6.0 * EXPERTS * (dim + teacher_dim) * teacher_dim,
        "tied": 6.0 * dim * teacher_dim,
    }
    shares = [
        Figure(
            f"freqd {form}: matrix products at the measured rate / its epoch",
            operations[form] * rows * n_steps / limits.gemm_flops / found[f"freqd, {form}"].seconds,
        )
        for form in operations
    ]
    targets = {"student-space": "<= 2"}
    return Report(
        f"FreqD epoch, D = {teacher_dim}, d = {dim}, batch {BATCH}",
        dataset.label,
        tuple(found.values()),
        (
            *(
                ratio(f"freqd {form} / student alone", found[f"freqd, {form}"], alone, targets.get(form, ""))
                for form in FORMS
            ),
            *shares,
            ratio("published order, experts / freqd experts", found[name], found["freqd, experts"]),
        ),
        (
            f"A step of the term takes {rows:.0f} distinct rows of both sides in the mean ({SAMPLE} of a batch's triples). "
            "The published order is our own plain torch program: project all rows, filter all rows, keep the batch; "
            "the teacher filtered once, positive and negative items sharing one projection, nothing dropped. It is not the "
            "authors' program.",
        ),
    )


def rows_of_a_step(train: sparse.csr_array, steps: int = 20) -> float:
    """Distinct users and items of the sample of a batch, mean over some steps."""
    batches = list(islice(Sampler(train, BATCH, torch.device("cpu")).epoch(0, 1), steps))
    counted = [
        len(unique_rows(b.users[:SAMPLE])[0]) + len(unique_rows(b.positives[:SAMPLE], b.negatives[:SAMPLE])[0])
        for b in batches
    ]
    return sum(counted) / len(counted)


if __name__ == "__main__":
    main(run)
