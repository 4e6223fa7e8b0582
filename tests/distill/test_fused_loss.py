from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.distill.feature_loss import SideDistillation
from freqd.distill.projectors import LinearProjector
from freqd.distill.sampled_filter import RowFilter
from freqd.models.readers import Reader, RowReader
from freqd.spectral.filters import Filter
from freqd.training.row_adam import RowTable


def new_side(teacher, row_filter, dim):
    """The squared loss with a linear projector."""
    projector = LinearProjector(dim, teacher.shape[1], torch.Generator().manual_seed(0))
    return SideDistillation(teacher, row_filter, projector)


def gradient_of(table):
    """The gradient that a ``RowTable`` holds, as a dense array."""
    rows = table.rows
    touched = rows.touched[: rows.n_touched[0]]
    gradient = np.zeros(rows.weight.shape, np.float32)
    gradient[touched] = rows.gradient[: len(touched)]
    return gradient


@pytest.mark.parametrize("options", [{}, {"neighbours": 2}], ids=["all", "drawn"])
@pytest.mark.parametrize("filter", [Filter(), Filter(form="linear", alpha=0.3)], ids=lambda f: f.form)
def test_the_compiled_loss_is_autograd_of_the_differences(norm_adj, filter, options):
    """Same draws, a table that is behind in some rows, another gradient already waiting, and a factor on the loss."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(30, 9)).astype(np.float32)
    side = new_side(teacher, RowFilter(norm_adj, filter, **options), 4)
    weight = side.projector.weight
    table = RowTable(torch.randn(30, 4, generator=torch.Generator().manual_seed(1)), 0.1)
    table.gather(torch.tensor([2, 3, 5])).sin().sum().backward()
    for _ in range(3):
        table.step()
    rows, shares = torch.tensor([0, 4, 7, 29]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    table.gather(torch.tensor([4])).sum().backward()
    loss = side.loss(RowReader(table), rows, shares, np.random.default_rng(5))
    (-2.5 * loss).backward()
    slope, found = weight.grad.clone(), gradient_of(table)

    table.catch_up()
    plain = table.weight.clone().requires_grad_()
    weight.grad = None
    filtered = side.row_filter.rows(Reader(lambda index: plain[index]), rows, np.random.default_rng(5))
    target = torch.from_numpy(filter.apply(norm_adj, teacher))[rows]
    expected = (shares * (target - filtered @ weight).square().sum(1)).sum()
    expected = expected / (shares * target.square().sum(1)).sum()
    (-2.5 * expected).backward()
    plain.grad[4] += 1.0
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(slope, weight.grad, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, plain.grad, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_zeros_gives_no_nan(norm_adj):
    side = new_side(np.zeros((30, 5), np.float32), RowFilter(norm_adj, Filter()), 3)
    table = RowTable(torch.zeros(30, 3), 0.1)
    rows, shares = torch.tensor([1, 2]), torch.tensor([0.5, 0.5])
    side.loss(RowReader(table), rows, shares, np.random.default_rng(0)).backward()
    assert not gradient_of(table).any()
    assert not side.projector.weight.grad.any()
