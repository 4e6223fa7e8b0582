from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.distill.feature_loss import SideDistillation
from freqd.distill.fused_loss import unmatched
from freqd.models.mf import RowReader
from freqd.spectral.filters import Filter
from freqd.training.row_adam import RowTable


def gradient_of(table):
    """The gradient that a ``RowTable`` holds, as a dense array."""
    rows = table.rows
    touched = rows.touched[: rows.n_touched[0]]
    gradient = np.zeros(rows.weight.shape, np.float32)
    gradient[touched] = rows.gradient[: len(touched)]
    return gradient


@pytest.mark.parametrize("options", [{}, {"neighbours": 2, "keep_prob": 0.5}], ids=["all", "drawn"])
@pytest.mark.parametrize("filter", [Filter(), Filter(form="linear", alpha=0.3)], ids=lambda f: f.form)
def test_the_compiled_look_is_autograd_of_the_differences(norm_adj, filter, options):
    """Same draws, a table that is behind in some rows, another gradient already waiting, and a factor on the loss."""
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(30, 9)).astype(np.float32)
    side = SideDistillation(
        teacher, norm_adj, filter, 4, distance="squared", projector="linear", seed=0, device="cpu", **options
    )
    weight = side.projector.weight
    table = RowTable(torch.randn(30, 4, generator=torch.Generator().manual_seed(1)), 0.1)
    table.gather(torch.tensor([2, 3, 5])).sin().sum().backward()
    for _ in range(3):
        table.step()
    rows, shares = torch.tensor([0, 4, 7, 29]), torch.tensor([0.4, 0.3, 0.2, 0.1])
    table.gather(torch.tensor([4])).sum().backward()
    look = side.look(RowReader(table), rows, shares, np.random.default_rng(5))
    loss = unmatched(look)
    (-2.5 * loss).backward()
    slope, found = weight.grad.clone(), gradient_of(table)

    table.catch_up()
    plain = table.weight.clone().requires_grad_()
    weight.grad = None
    filtered = side.row_filter.rows(lambda index: plain[index], rows, np.random.default_rng(5))
    target = torch.from_numpy(filter.apply(norm_adj, teacher))[rows]
    expected = (shares * (target - filtered @ weight).square().sum(1)).sum()
    expected = expected / (shares * target.square().sum(1)).sum()
    (-2.5 * expected).backward()
    plain.grad[4] += 1.0
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(slope, weight.grad, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, plain.grad, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_zeros_gives_no_nan(norm_adj):
    side = SideDistillation(
        np.zeros((30, 5), np.float32),
        norm_adj,
        Filter(),
        3,
        distance="squared",
        projector="linear",
        seed=0,
        device="cpu",
    )
    table = RowTable(torch.zeros(30, 3), 0.1)
    rows, shares = torch.tensor([1, 2]), torch.tensor([0.5, 0.5])
    unmatched(side.look(RowReader(table), rows, shares, np.random.default_rng(0))).backward()
    assert not gradient_of(table).any()
    assert not side.projector.weight.grad.any()


def test_two_looks_at_once_are_the_sum_of_both(norm_adj):
    rng = np.random.default_rng(0)
    sides = [
        SideDistillation(
            rng.normal(size=(30, size)).astype(np.float32),
            norm_adj,
            Filter(form="linear", alpha=0.3),
            4,
            distance="squared",
            projector="linear",
            seed=size,
            device="cpu",
        )
        for size in (6, 9)
    ]

    def learn(together):
        tables = [RowTable(torch.randn(30, 4, generator=torch.Generator().manual_seed(n)), 0.1) for n in (1, 2)]
        asked = (torch.tensor([0, 4, 7, 29]), torch.tensor([0.4, 0.3, 0.2, 0.1]))
        looks = [
            side.look(RowReader(table), *asked, np.random.default_rng(5))
            for side, table in zip(sides, tables, strict=True)
        ]
        loss = unmatched(*looks) if together else sum(unmatched(look) for look in looks)
        (3.0 * loss).backward()
        slopes = [side.projector.weight.grad.clone() for side in sides]
        for side in sides:
            side.projector.weight.grad = None
        return loss.item(), slopes, [gradient_of(table) for table in tables]

    (loss, slopes, found), (apart, apart_slopes, apart_found) = learn(True), learn(False)
    assert loss == pytest.approx(apart, rel=1e-6)
    for mine, other in zip(slopes, apart_slopes, strict=True):
        torch.testing.assert_close(mine, other)
    for mine, other in zip(found, apart_found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
