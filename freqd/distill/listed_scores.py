"""Scores of listed items: s_uj = ⟨S_u, S_j⟩ for a short list of items a user, forward and backward.

The lists of a batch hold tens of thousands of items but few distinct ones. So the distinct rows are gathered once
(which is all that the student's view has to differentiate) and the inner products run over them in place: the
(b, L, d) tensor that plain indexing would make, and its gradient, are never formed on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freqd.numerics.jit import kernel, njit
from freqd.numerics.listed_scores import NO_ITEM, listed_products

Lists = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def _compact(lists: Any, bound: int) -> tuple[Any, Any]:
    """Distinct items in order of first occurrence, and the lists with positions among them."""
    position = np.full(bound, -1, np.int32)
    distinct = np.empty(min(bound, lists.size), np.int64)
    local = np.empty(lists.shape, np.int32)
    count = 0
    for row in range(lists.shape[0]):
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item < 0:
                local[row, column] = -1
                continue
            if position[item] < 0:
                position[item] = count
                distinct[count] = item
                count += 1
            local[row, column] = position[item]
    return distinct[:count], local


@kernel(fastmath=True)
def _backward(users: Any, items: Any, lists: Any, grad: Any, grad_users: Any, grad_items: Any) -> None:
    for row in range(lists.shape[0]):
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item >= 0:
                g = grad[row, column]
                for k in range(users.shape[1]):
                    grad_users[row, k] += g * items[item, k]
                    grad_items[item, k] += g * users[row, k]


class _ListedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, lists: Lists) -> Tensor:
        ctx.save_for_backward(users, items)
        ctx.lists = lists
        scores = torch.empty(lists.shape, dtype=users.dtype)
        listed_products(users.detach().contiguous().numpy(), items.detach().contiguous().numpy(), lists, scores.numpy())
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        users, items = ctx.saved_tensors
        grad_users, grad_items = torch.zeros_like(users), torch.zeros_like(items)
        _backward(
            users.detach().contiguous().numpy(),
            items.detach().contiguous().numpy(),
            ctx.lists,
            grads[0].contiguous().numpy(),
            grad_users.numpy(),
            grad_items.numpy(),
        )
        return grad_users, grad_items, None


class Scoring(Protocol):
    """Rows whose inner products score; a ``View`` is one."""

    @property
    def users(self) -> Callable[[Tensor], Tensor]:
        """User rows by their numbers."""
        ...

    @property
    def items(self) -> Callable[[Tensor], Tensor]:
        """Item rows by their numbers."""
        ...


def listed_scores(view: Scoring, users: Tensor, lists: Tensor) -> Tensor:
    """The student's scores of each user's list of items, differentiable.

    Cost O(b · L · d) time; O(distinct items · d) memory on a CPU.

    Args:
        view: the student at this step.
        users: (b,) int64.
        lists: (b, L) int32; ``NO_ITEM`` where a list has ended, which scores 0.

    Returns:
        (b, L) float32.
    """
    if lists.device.type == "cpu":
        array = lists.numpy()
        distinct, local = _compact(array, int(array.max(initial=0)) + 1)
        return _ListedProducts.apply(view.users(users), view.items(torch.from_numpy(distinct)), local)  # type: ignore[no-any-return,no-untyped-call]
    rows = view.items(lists.clamp_min(0).flatten().long()).view(*lists.shape, -1)  # (b, L, d)
    return torch.einsum("bd,bld->bl", view.users(users), rows).masked_fill(lists < 0, 0.0)


def sample_listed(
    lists: Lists, log_weights: npt.NDArray[np.floating[Any]], count: int, rng: np.random.Generator
) -> Lists:
    """``count`` items of each list without repetition, with probabilities proportional to weights; order is kept.

    By the Gumbel top-k trick: the largest log-weights plus Gumbel noise are such a sample (Kool et al., ICML 2019).

    Args:
        lists: (n, M) int32.
        log_weights: (M,) or (n, M); −inf is never drawn.
        count: size of the sample, at most M.

    Returns:
        (n, count) int32; ``NO_ITEM`` where a list has fewer items that can be drawn.
    """
    keys = log_weights + rng.gumbel(size=lists.shape)
    keys[lists < 0] = -np.inf
    chosen = np.sort(np.argpartition(-keys, count - 1, axis=1)[:, :count], axis=1)
    drawn = np.isfinite(np.take_along_axis(keys, chosen, axis=1))
    return np.where(drawn, np.take_along_axis(lists, chosen, axis=1), np.int32(NO_ITEM)).astype(np.int32)


@njit(cache=True, nogil=True)
def drop_listed(items: Lists, lists: Lists) -> None:
    """Put ``NO_ITEM``, in place, for each item that is in the row's list."""
    for row in range(items.shape[0]):
        taken = np.sort(lists[row])
        for column in range(items.shape[1]):
            at = np.searchsorted(taken, items[row, column])
            if at < len(taken) and taken[at] == items[row, column]:
                items[row, column] = -1
