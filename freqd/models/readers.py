"""Rows of a model's tables in one training step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from freqd.training.bpr_loss import add_pair_gradients, bpr_loss, l2_loss
from freqd.training.interfaces import RowLookup, SparseRows
from freqd.training.row_adam import RowTable
from freqd.training.sampling import Batch


class Reader:
    """Reads rows of one table during one step; the same index tensor is read, and its gradient summed, only once."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        self._read = read
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, d)."""
        if id(index) not in self._seen:
            self._seen[id(index)] = index, self._read(index)  # the index is kept, so that its id stays its own
        return self._seen[id(index)][1]

    def combine(self, rows: SparseRows) -> Tensor:
        """M S: (r, d)."""
        return combined(self, rows)


class RowReader(Reader):
    """A reader of a ``RowTable``, which combines rows in place."""

    def __init__(self, table: RowTable) -> None:
        super().__init__(table.gather)
        self._table = table

    def combine(self, rows: SparseRows) -> Tensor:
        """M S: (r, d)."""
        return self._table.combine(*rows)


def combined(read: Callable[[Tensor], Tensor], rows: SparseRows) -> Tensor:
    """M S from the rows of S that M has entries for: (r, d), differentiable.

    Args:
        read: rows (n, d) of S by their numbers (n,).
    """
    starts, columns, values = rows
    distinct, local = torch.unique(columns, return_inverse=True)
    row = torch.repeat_interleave(torch.arange(len(starts) - 1, device=starts.device), starts.diff())
    size = (len(starts) - 1, len(distinct))
    piece = torch.sparse_coo_tensor(torch.stack([row, local]), values, size, check_invariants=False)
    result: Tensor = torch.sparse.mm(piece, read(distinct))
    return result


class StepView:
    """A ``TrainingView`` made of four readers; for MF the raw ones are the final ones."""

    def __init__(self, users: RowLookup, items: RowLookup, raw_users: RowLookup, raw_items: RowLookup) -> None:
        self.users, self.items, self.raw_users, self.raw_items = users, items, raw_users, raw_items

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """By autograd, all in one pass: a propagation is differentiated once."""
        total, bpr = others, torch.zeros((), device=others.device)
        if base_weight > 0:
            loss = bpr_loss(self, batch)
            total, bpr = total + base_weight * loss, loss.detach()
        if weight_decay > 0:
            total = total + weight_decay * l2_loss(self, batch)
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        return bpr


class RowView(StepView):
    """Two ``RowTable``s: others by autograd, BPR and L2 compiled; their gradients meet in the tables."""

    def __init__(self, users: RowTable, items: RowTable) -> None:
        read_users, read_items = RowReader(users), RowReader(items)
        super().__init__(read_users, read_items, read_users, read_items)
        self._tables = users, items

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """As ``StepView``."""
        if others.requires_grad:
            others.backward()  # type: ignore[no-untyped-call]
        if base_weight > 0 or weight_decay > 0:
            return add_pair_gradients(*self._tables, batch, base_weight, weight_decay)
        return torch.zeros(())


def dense_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` of an autograd tensor."""
    return nn.functional.embedding(index, table)
