from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.distill.projectors import LinearProjector, MixtureProjector, MlpProjector, make_projector


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["linear", "mlp", "mixture"])
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
    projector.fit(torch.tensor(rows, dtype=torch.float32), torch.tensor(target, dtype=torch.float32))
    np.testing.assert_allclose(projector.weight.detach(), np.linalg.lstsq(rows, target, rcond=None)[0], atol=1e-4)


def test_a_linear_projector_fits_features_of_deficient_rank():
    rows = torch.zeros(10, 3)
    rows[:, 0] = torch.arange(10.0)
    projector = LinearProjector(3, 2, seeded())
    projector.fit(rows, torch.stack([2 * rows[:, 0], -rows[:, 0]], dim=1))
    expected = torch.stack([2 * rows[:, 0], -rows[:, 0]], dim=1)
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


def test_an_unknown_projector_is_named():
    with pytest.raises(ValueError, match="unknown projector 'cubic'"):
        make_projector("cubic", 2, 2, generator=seeded())
