"""References of any size that every comparison should show: best-sellers, item-kNN and EASE, with settings chosen on validation.

Well-tuned, they beat many a published model (Ferrari Dacrema et al., "Are We Really Making Much Progress?", RecSys 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from freqd.config.models import Reference
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, ModelInfo
from freqd.evaluate.validation import Validation
from freqd.scorer import Scorer
from freqd.teachers.item_search import search_ease, search_neighbours
from freqd.teachers.lowpass import item_degrees
from freqd.teachers.search import SAMPLE_USERS
from freqd.training.environment import TrainingEnvironment

EASE_STRENGTHS = (300.0, 100.0, 1000.0, 30.0)
"""In the order in which they are tried."""
EASE_WORK = 4 * 8_000**3
"""Items³ of all strengths together, at the most; one is always tried."""


@dataclass(frozen=True, eq=False)
class FoundReference:
    """A reference.

    Attributes:
        scorer: gives its scores.
        parameters: numbers that it keeps.
        info: kind, trials and valid_ndcg_at_10, over ``search_users`` users.
    """

    scorer: Scorer
    parameters: int
    info: ModelInfo


def find_reference(
    name: Reference, split: Split, environment: TrainingEnvironment, *, max_items: int
) -> FoundReference:
    """Fit one on the train part; its settings are those that are best on a sample of the validation users.

    Args:
        name: which.
        split: the data.
        environment: seed and progress.
        max_items: the most items for EASE; callers leave it out beyond.

    Raises:
        InputError: EASE has more items.
    """
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    if name == "popular":
        scorer = best_sellers(sample.train)
        info = ModelInfo(kind=name, trials=[], valid_ndcg_at_10=sample(scorer), search_users=len(sample.users))
        return FoundReference(scorer, split.n_items, info)
    if name == "item-knn":
        found = search_neighbours(sample, environment)
    else:
        strengths = EASE_STRENGTHS[: max(1, EASE_WORK // split.n_items**3)]
        found = search_ease(sample, environment, regularization=strengths, max_items=max_items)
    weights = found.scorer.weights
    info = ModelInfo(
        kind=name,
        trials=found.trials,
        valid_ndcg_at_10=found.best["valid_ndcg_at_10"] or 0.0,
        search_users=len(sample.users),
        seconds=found.seconds,
    )
    return FoundReference(found.scorer, int(weights.size if isinstance(weights, np.ndarray) else weights.nnz), info)


def best_sellers(train: sparse.csr_array) -> Embeddings:
    """The train interactions of an item as everybody's score of it, as tables of one column.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
    """
    counts = item_degrees(train).astype(np.float32)
    return Embeddings(np.ones((train.shape[0], 1), np.float32), counts[:, None])
