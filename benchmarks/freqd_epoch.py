"""FreqD's epoch: beside the same student alone, and beside the published order of operations (D = 400, d = 20)."""

from __future__ import annotations

from benchmarks import data
from benchmarks.harness import Limits, Options, Report, main, measure, ratio
from benchmarks.plain import published_freqd
from benchmarks.training import BATCH, context, student_epochs
from freqd.config import GraphConfig, ObjectiveConfig
from freqd.distill import build_objectives
from freqd.distill.projectors import ProjectorKind
from freqd.graph import build_graphs
from freqd.spectral.filters import Filter, SideFilters

PUBLISHED_STEPS = 2
KINDS: tuple[ProjectorKind, ...] = ("linear", "mixture")
NAMES = {"linear": "linear projector", "mixture": "5 MLP experts"}


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("citeulike", tiny=options.tiny)
    split = dataset.split
    teacher_dim, dim = (12, 4) if options.tiny else (400, 20)
    teacher = data.features(split, teacher_dim)
    graphs = build_graphs(split.train, GraphConfig())
    filters = SideFilters(user=Filter(form="linear", alpha=0.2), item=Filter(form="linear", alpha=0.2))
    surroundings = context(split.train.matrix(), teacher, graphs, filters, dim)
    train = surroundings.train

    epochs = {"student alone": student_epochs(train, [], dim=dim)}
    for kind in KINDS:
        objective = ObjectiveConfig(name="freqd", weight=0.01, options={"projector": kind})
        epochs[f"freqd, {NAMES[kind]}"] = student_epochs(train, build_objectives([objective], surroundings), dim=dim)
    found = measure(epochs, options)
    for work in epochs.values():
        work.close()

    for kind in KINDS:
        step, n_steps = published_freqd(train, teacher, graphs, filters, dim=dim, projector=kind, batch_size=BATCH)
        name = f"published order, {NAMES[kind]}"
        measured = measure({name: step}, options, few={name: PUBLISHED_STEPS})[name]
        found[name] = measured.scaled(
            n_steps, f"extrapolated: {len(measured.wall)} step(s) timed, x {n_steps} an epoch"
        )

    alone = found["student alone"]
    linear, mixture = (found[f"freqd, {NAMES[kind]}"] for kind in KINDS)
    published_linear, published = (found[f"published order, {NAMES[kind]}"] for kind in KINDS)
    return Report(
        f"FreqD epoch, D = {teacher_dim}, d = {dim}, batch {BATCH}",
        dataset.label,
        tuple(found.values()),
        (
            ratio("freqd linear / student alone", linear, alone, "<= 1.5"),
            ratio("published order, 5 experts / freqd linear", published, linear, ">= 300"),
            ratio("published order, linear / freqd linear", published_linear, linear),
            ratio("published order, 5 experts / freqd 5 experts", published, mixture, ">= 30"),
        ),
        (
            "The published order is our own plain torch program: project all rows, filter all rows, keep the batch; "
            "the teacher filtered once, positive and negative items sharing one projection. It is not the authors' program.",
        ),
    )


if __name__ == "__main__":
    main(run)
