from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.distill.projectors import (
    ExpertsProjector,
    LinearProjector,
    MixtureProjector,
    MlpProjector,
    make_projector,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["experts", "linear", "mlp", "mixture"])
def test_shape_and_determinism(kind):
    rows = torch.randn(7, 4, generator=seeded(1))
    first = make_projector(kind, 4, 10, generator=seeded(), experts=3)(rows)
    again = make_projector(kind, 4, 10, generator=seeded(), experts=3)(rows)
    assert first.shape == (7, 10)
    assert torch.equal(first, again)


def test_a_linear_projector_fits_least_squares():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(50, 4)), rng.normal(size=(50, 6))
    projector = LinearProjector(4, 6, seeded())
    projector.fit((torch.tensor(rows, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)))
    np.testing.assert_allclose(projector.weight.detach(), np.linalg.lstsq(rows, target, rcond=None)[0], atol=1e-4)


def test_a_linear_projector_fits_features_of_deficient_rank():
    rows = torch.zeros(10, 3)
    rows[:, 0] = torch.arange(10.0)
    projector = LinearProjector(3, 2, seeded())
    expected = torch.stack([2 * rows[:, 0], -rows[:, 0]], dim=1)
    projector.fit((rows, expected))
    torch.testing.assert_close(projector(rows), expected, rtol=1e-3, atol=1e-3)


def test_an_mlp_by_hand():
    projector = MlpProjector(2, 2, seeded())
    with torch.no_grad():
        projector.inner.copy_(torch.tensor([[1.0, -1.0], [0.0, 2.0]]))
        projector.inner_bias.copy_(torch.tensor([0.5, -10.0]))
        projector.outer.copy_(torch.tensor([[3.0, 4.0], [100.0, 100.0]]))
        projector.outer_bias.copy_(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(projector(torch.tensor([[2.0, 1.0]])), torch.tensor([[7.5, 11.0]]))


def test_a_mixture_of_equal_shares_is_the_mean_of_its_experts():
    projector = MixtureProjector(2, 3, seeded(), experts=4)
    with torch.no_grad():
        projector.gate.zero_()
    rows = torch.randn(5, 2, generator=seeded(2))
    mean = torch.stack([expert(rows) for expert in projector.experts]).mean(0)
    torch.testing.assert_close(projector(rows), mean)


def experts(dropout: float = 0.0) -> ExpertsProjector:
    projector = make_projector("experts", 4, 6, generator=seeded(), experts=3, dropout=dropout)
    assert isinstance(projector, ExpertsProjector)
    return projector


def test_a_linear_projector_of_two_sides_fits_both_at_once():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 3)), rng.normal(size=(n, 5))) for n in (20, 40)]
    projector = LinearProjector(3, 5, seeded())
    projector.fit(*((torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)) for a, b in pairs))
    rows, target = (np.concatenate(part) for part in zip(*pairs, strict=True))
    np.testing.assert_allclose(projector.weight.detach(), np.linalg.lstsq(rows, target, rcond=None)[0], atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_experts_are_the_mean_of_their_mlps_where_nothing_is_dropped(dropout):
    projector, rows = experts(dropout), torch.randn(5, 4, generator=seeded(2))
    expected = torch.zeros(5, 6)
    for inner, a, outer, b in zip(*(projector.get_parameter(name) for name in (
        "inner", "inner_bias", "outer", "outer_bias")), strict=True):  # fmt: skip
        expected += (torch.relu(rows @ inner + a) @ outer + b) / 3
    torch.testing.assert_close(projector(rows), expected)


def test_experts_start_as_torch_starts_its_linear_layers():
    projector = make_projector("experts", 9, 100, generator=seeded(), experts=5)
    for weights, inputs in (
        (projector.inner, 9),
        (projector.inner_bias, 9),
        (projector.outer, 100),
        (projector.outer_bias, 100),
    ):
        assert weights.abs().max().item() <= inputs**-0.5
        assert weights.std().item() == pytest.approx(inputs**-0.5 / 3**0.5, rel=0.1)


def test_experts_drop_inputs_and_hidden_numbers_and_keep_the_mean():
    projector, rng = experts(0.2), np.random.default_rng(0)
    with torch.no_grad():  # a ReLU that is always on is linear, so that the mean over draws is known
        projector.inner_bias.fill_(50.0)
    rows = torch.randn(2, 4, generator=seeded(2))
    draws = torch.stack([projector(rows, rng).detach() for _ in range(4000)])
    exact = projector(rows).detach()
    assert draws.std(0).min() > 0.1
    assert ((draws.mean(0) - exact).abs() <= 5 * draws.std(0) / 4000**0.5).all()
    dropped = projector._dropped(torch.ones(20_000, 1), rng)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert (dropped == 0.0).float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_experts_have_the_gradient_of_what_they_give():
    rows = torch.randn(3, 4, generator=seeded(2), requires_grad=True)

    def given(values: torch.Tensor) -> torch.Tensor:
        return experts(0.3)(values, np.random.default_rng(7)).sin().sum()

    given(rows).backward()
    step = 1e-2 * torch.randn(3, 4, generator=seeded(3))
    slope = (given(rows.detach() + step) - given(rows.detach() - step)) / 2
    torch.testing.assert_close(slope, (rows.grad * step).sum(), rtol=0.02, atol=1e-4)


def test_an_unknown_projector_is_named():
    with pytest.raises(ValueError, match="unknown projector 'cubic'"):
        make_projector("cubic", 2, 2, generator=seeded())
