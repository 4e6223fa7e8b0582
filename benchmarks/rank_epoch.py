"""An epoch of ranking distillation: teacher's top 50, student's top 50, 100 random items a user (D = 400, d = 20)."""

from __future__ import annotations

from benchmarks import data
from benchmarks.harness import Figure, Limits, Options, Report, main, measure, ratio
from benchmarks.plain import ranking_distillation
from benchmarks.training import BATCH, context, student_epochs
from freqd.config import GraphConfig, ObjectiveConfig
from freqd.distill import build_objectives
from freqd.graph import build_graphs
from freqd.spectral.filters import SideFilters

TOP, STUDENT_TOP, RANDOM = 50, 50, 100


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("citeulike", tiny=options.tiny)
    split = dataset.split
    teacher_dim, dim = (12, 4) if options.tiny else (400, 20)
    teacher = data.features(split, teacher_dim)
    graphs = build_graphs(split.train, GraphConfig())
    surroundings = context(split.train.matrix(), teacher, graphs, SideFilters(), dim)
    train = surroundings.train
    objective = ObjectiveConfig(name="rce", options={"top": TOP, "student_top": STUDENT_TOP, "random": RANDOM})

    ours = student_epochs(train, build_objectives([objective], surroundings), dim=dim)
    alone = student_epochs(train, [], dim=dim)
    plain = ranking_distillation(
        train, teacher, dim=dim, top=TOP, student_top=STUDENT_TOP, random=RANDOM, batch_size=BATCH
    )
    found = measure({"student alone": alone, "freqd, rce + BPR": ours, "plain torch, rce + BPR": plain}, options)
    ours.close()
    alone.close()

    epoch = found["freqd, rce + BPR"]
    # Two products that no program can do without: the student's scores of all items, and the teacher's of the lists.
    listed = split.n_users * (TOP + STUDENT_TOP + RANDOM)
    flops = 2.0 * split.n_users * split.n_items * dim + 2.0 * listed * teacher_dim
    return Report(
        f"Ranking-distillation epoch, D = {teacher_dim}, d = {dim}, batch {BATCH}",
        dataset.label,
        tuple(found.values()),
        (
            Figure("freqd, seconds an epoch", epoch.seconds, epoch.cpu_seconds, "<= 1.0"),
            ratio("plain torch / freqd", found["plain torch, rce + BPR"], epoch),
            ratio("freqd / student alone", epoch, found["student alone"]),
            Figure("freqd / its dense products at the measured FLOP/s", epoch.seconds / (flops / limits.gemm_flops)),
        ),
    )


if __name__ == "__main__":
    main(run)
