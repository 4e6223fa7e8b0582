"""Epochs of freqd's own training loop as works."""

from __future__ import annotations

from collections.abc import Callable

from scipy import sparse

from benchmarks.harness import Epochs
from freqd.data import Split
from freqd.distill import DistillContext
from freqd.features import FeatureTable
from freqd.graph import Graphs
from freqd.models.mf import MatrixFactorization
from freqd.models.training import FitSettings, Term, fit
from freqd.spectral.filters import SideFilters

BATCH = 2048
FOREVER = 1_000_000


def student_epochs(
    train: sparse.csr_array, terms: list[Term], *, dim: int, learning_rate: float = 1e-3, weight_decay: float = 0.0
) -> Epochs:
    """Epochs of an MF student with the terms; it is never validated in between."""
    settings = FitSettings(
        epochs=FOREVER,
        batch_size=BATCH,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        eval_every=FOREVER,
        device="cpu",
    )

    def training(lap: Callable[[], None]) -> object:
        model = MatrixFactorization(*train.shape, dim, seed=0)
        return fit(
            model,
            terms,
            train,
            validate=lambda features: 0.0,
            settings=settings,
            seed=0,
            progress=lambda fraction, text: lap(),
        )

    return Epochs(training)


def context(split: Split, teacher: FeatureTable, graphs: Graphs, filters: SideFilters, dim: int) -> DistillContext:
    """Surroundings of a distillation from a random start, with the raw teacher as the ranking teacher."""
    return DistillContext(
        teacher=teacher,
        ranking_teacher=teacher,
        graphs=graphs,
        feature_filters=filters,
        train=split.train.matrix(),
        dim=dim,
        seed=0,
        warm=False,
    )
