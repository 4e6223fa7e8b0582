"""The loss of pairs of items: BPR and L2 of a batch of triples, for any model and, compiled, for two ``RowTable``s.

BPR (Rendle et al., UAI 2009) is the mean over the batch of −ln σ(score(u, i⁺) − score(u, i⁻)), and L2 the mean of
(‖e_u‖² + ‖e_i⁺‖² + ‖e_i⁻‖²) / 2 over the raw rows of the same triples, as in BPR's and LightGCN's own programs. So the
strength of weight_decay depends neither on the batch size nor on how many rows a table has. (L2 of *all* rows in the
optimizer is another thing: 1e-3 there, against a mean loss, pulls every row to 0, rare ones first.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from freqd.numerics.jit import kernel, prefetch_to_write
from freqd.training.interfaces import View
from freqd.training.row_adam import RowTable
from freqd.training.row_kernels import AHEAD, FREE_ORDER, LongArray, Rows, gradient_slot, prefetch_row, read_row
from freqd.training.sampling import Batch

LOG_AT = 1e200
"""A product of up to this is kept before its logarithm is taken."""


def bpr_loss(view: View, batch: Batch) -> Tensor:
    """Mean of −ln σ(score(u, i⁺) − score(u, i⁻)) over the batch (Rendle et al., UAI 2009)."""
    users = view.users(batch.users)
    difference = (users * (view.items(batch.positives) - view.items(batch.negatives))).sum(-1)
    return nn.functional.softplus(-difference).mean()


def l2_loss(view: View, batch: Batch) -> Tensor:
    """Mean of (‖e_u‖² + ‖e_i⁺‖² + ‖e_i⁻‖²) / 2 over the batch's triples, raw rows."""
    rows = view.raw_users(batch.users), view.raw_items(batch.positives), view.raw_items(batch.negatives)
    return sum((0.5 * row.square().sum() for row in rows), torch.zeros(())) / len(batch.users)


def add_pair_gradients(
    users: RowTable, items: RowTable, batch: Batch, base_weight: float, weight_decay: float
) -> Tensor:
    """Add the gradient of base_weight · ``bpr_loss`` + weight_decay · ``l2_loss``, and give the value of ``bpr_loss``.

    The same as the two functions above and their ``backward``, but in one pass: a triple's three rows are read once,
    and neither they nor their gradients are copied to (b, d) tensors.
    """
    size = len(batch.users)
    loss = _add_pair_gradients(
        batch.users.numpy(),
        batch.positives.numpy(),
        batch.negatives.numpy(),
        users.rows,
        items.rows,
        users.step_count,
        users.schedule,
        np.float32(base_weight / size),
        np.float32(weight_decay / size),
    )
    return torch.tensor(loss / size, dtype=torch.float32)


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def _add_pair_gradients(
    users: LongArray,
    positives: LongArray,
    negatives: LongArray,
    user_rows: Rows,
    item_rows: Rows,
    now: int,
    schedule: npt.NDArray[np.float64],
    weight: np.float32,
    decay: np.float32,
) -> float:
    """Sum of −ln σ over the triples; ``weight`` and ``decay`` are those of a single one."""
    one, zero = np.float32(1.0), np.float32(0.0)
    user_table, user_ratio, _, user_marks, user_gradient, touched_users, n_users = user_rows
    item_table, item_ratio, _, item_marks, item_gradient, touched_items, n_items = item_rows
    dim = user_table.shape[1]
    total, product = 0.0, 1.0
    for n in range(len(users)):
        if n + 2 * AHEAD < len(users):
            prefetch_to_write(user_marks, (users[n + 2 * AHEAD], 0))
            prefetch_to_write(item_marks, (positives[n + 2 * AHEAD], 0))
            prefetch_to_write(item_marks, (negatives[n + 2 * AHEAD], 0))
        if n + AHEAD < len(users):
            prefetch_row(users[n + AHEAD], user_table, user_ratio)
            prefetch_row(positives[n + AHEAD], item_table, item_ratio)
            prefetch_row(negatives[n + AHEAD], item_table, item_ratio)
        user, positive, negative = users[n], positives[n], negatives[n]
        read_row(user, user_table, user_ratio, user_marks, now, schedule)
        read_row(positive, item_table, item_ratio, item_marks, now, schedule)
        read_row(negative, item_table, item_ratio, item_marks, now, schedule)
        difference = zero
        for c in range(dim):
            difference += user_table[user, c] * (item_table[positive, c] - item_table[negative, c])
        # −ln σ(x) = max(−x, 0) + ln(1 + e^−|x|); the logarithms of many triples are taken as that of a product.
        small = np.float32(math.exp(-abs(difference)))
        total += float(max(-difference, zero))
        product *= float(one + small)
        if product > LOG_AT:
            total += math.log(product)
            product = 1.0
        slope = -weight * (small if difference > zero else one) / (one + small)
        u = gradient_slot(user, user_marks, touched_users, n_users)
        p = gradient_slot(positive, item_marks, touched_items, n_items)
        q = gradient_slot(negative, item_marks, touched_items, n_items)
        for c in range(dim):
            x, y, z = user_table[user, c], item_table[positive, c], item_table[negative, c]
            user_gradient[u, c] += slope * (y - z) + decay * x
            item_gradient[p, c] += slope * x + decay * y
            item_gradient[q, c] += decay * z - slope * x
    return total + math.log(product)
