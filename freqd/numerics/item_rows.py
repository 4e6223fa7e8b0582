"""Scores of an item-item model: the weights of a user's items, added up, of all items or of listed ones."""

from __future__ import annotations

from typing import Any

from freqd.numerics.jit import kernel


@kernel(fastmath={"reassoc", "contract"})
def add_rows(
    users: Any, indptr: Any, indices: Any, starts: Any, columns: Any, values: Any, factor: Any, scores: Any
) -> None:
    """Add to each row of ``scores`` (b, n_items) ``factor`` times the sparse rows of W of its user's items."""
    for row in range(len(users)):
        for p in range(indptr[users[row]], indptr[users[row] + 1]):
            for q in range(starts[indices[p]], starts[indices[p] + 1]):
                scores[row, columns[q]] += factor * values[q]


@kernel(fastmath={"reassoc", "contract"})
def add_dense_rows(users: Any, indptr: Any, indices: Any, weights: Any, factor: Any, scores: Any) -> None:
    """As ``add_rows``, of a dense W."""
    for row in range(len(users)):
        for p in range(indptr[users[row]], indptr[users[row] + 1]):
            item = indices[p]
            for column in range(scores.shape[1]):
                scores[row, column] += factor * weights[item, column]


@kernel(fastmath={"reassoc", "contract"})
def add_listed(users: Any, indptr: Any, indices: Any, weights: Any, lists: Any, scores: Any) -> None:
    """Add to each of ``scores`` (b, L) what its user's items say for its item, by a dense W."""
    for row in range(len(users)):
        for p in range(indptr[users[row]], indptr[users[row] + 1]):
            item = indices[p]
            for column in range(lists.shape[1]):
                if lists[row, column] >= 0:
                    scores[row, column] += weights[item, lists[row, column]]


@kernel(fastmath={"reassoc", "contract"})
def add_listed_rows(
    users: Any, indptr: Any, indices: Any, starts: Any, columns: Any, values: Any, lists: Any, place: Any, scores: Any
) -> None:
    """As ``add_listed``, of a sparse W; ``place`` (n_items,), all −1, is scratch and is given back like that."""
    for row in range(len(users)):
        for column in range(lists.shape[1]):
            if lists[row, column] >= 0:
                place[lists[row, column]] = column
        for p in range(indptr[users[row]], indptr[users[row] + 1]):
            for q in range(starts[indices[p]], starts[indices[p] + 1]):
                at = place[columns[q]]
                if at >= 0:
                    scores[row, at] += values[q]
        for column in range(lists.shape[1]):  # an item that is listed twice has its score at the last of its places
            if lists[row, column] >= 0:
                scores[row, column] = scores[row, place[lists[row, column]]]
        for column in range(lists.shape[1]):
            if lists[row, column] >= 0:
                place[lists[row, column]] = -1
