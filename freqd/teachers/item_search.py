"""Validation searches over small grids of item-item models; each setting costs making the weights and a validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import TypeAlias

from scipy import sparse

from freqd.embeddings import FloatMatrix, Trial
from freqd.evaluate.validation import Validation
from freqd.scorer import ItemScorer
from freqd.teachers.item_weights import EASE_ITEMS, ease_weights, graph_filter_weights, neighbour_weights
from freqd.training.environment import TrainingEnvironment

KEEP = 500
"""Weights towards an item that a graph filter keeps."""

Weights: TypeAlias = sparse.csr_array | FloatMatrix


@dataclass(frozen=True, eq=False)
class FoundItems:
    """What a search found.

    Attributes:
        scorer: the best model.
        best: its trial.
        trials: one row a setting, in the order in which they were tried.
        seconds: of all of them.
    """

    scorer: ItemScorer
    best: Trial
    trials: list[Trial]
    seconds: float


def search_graph_filter(
    data: Validation,
    environment: TrainingEnvironment,
    *,
    alpha: Sequence[float] = (0.4, 0.5, 0.6),
    beta: Sequence[float] = (0.2, 0.35, 0.5),
    keep: int = KEEP,
) -> FoundItems:
    """The best ``graph_filter_weights`` by validation NDCG@10; trials have alpha and beta."""
    settings: list[Trial] = [{"alpha": a, "beta": b} for a, b in product(alpha, beta)]
    return _search(data, settings, lambda t: graph_filter_weights(data.train, t["alpha"], t["beta"], keep), environment)


def search_neighbours(
    data: Validation,
    environment: TrainingEnvironment,
    *,
    neighbours: Sequence[int] = (100, 400),
    shrink: Sequence[float] = (20.0, 100.0),
) -> FoundItems:
    """The best ``neighbour_weights`` by validation NDCG@10; trials have neighbours and shrink."""
    settings: list[Trial] = [{"neighbours": k, "shrink": s} for k, s in product(neighbours, shrink)]
    return _search(data, settings, lambda t: neighbour_weights(data.train, t["neighbours"], t["shrink"]), environment)


def search_ease(
    data: Validation,
    environment: TrainingEnvironment,
    *,
    regularization: Sequence[float] = (30.0, 100.0, 300.0, 1000.0),
    max_items: int = EASE_ITEMS,
) -> FoundItems:
    """The best ``ease_weights`` by validation NDCG@10; trials have regularization.

    Raises:
        InputError: there are too many items.
    """
    settings: list[Trial] = [{"regularization": strength} for strength in regularization]
    return _search(
        data, settings, lambda t: ease_weights(data.train, t["regularization"], max_items=max_items), environment
    )


def _search(
    data: Validation, settings: Iterable[Trial], build: Callable[[Trial], Weights], environment: TrainingEnvironment
) -> FoundItems:
    """The best of the settings; at equal values the one that was tried first. Holds two models at a time."""
    started = perf_counter()
    planned = list(settings)
    best: tuple[ItemScorer, Trial] | None = None
    best_ndcg = -math.inf
    trials: list[Trial] = []
    for number, setting in enumerate(planned, start=1):
        began = perf_counter()
        scorer = ItemScorer(data.train, build(setting))
        reached = data(scorer)
        measured: Trial = {"valid_ndcg_at_10": reached, "seconds": round(perf_counter() - began, 3)}
        trials.append(setting | measured)
        if reached > best_ndcg:
            best, best_ndcg = (scorer, trials[-1]), reached
        told = ", ".join(f"{name} {value:g}" for name, value in setting.items() if isinstance(value, int | float))
        environment.progress(number / len(planned), f"{told}: validation NDCG@10 {reached:.4f}")
    if best is None:
        raise ValueError("the grid is empty")
    return FoundItems(*best, trials, round(perf_counter() - started, 3))
