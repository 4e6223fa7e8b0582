"""The softmax loss against its definition, and what is learnt with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from freqd.data.interactions import Split
from freqd.embeddings import Embeddings
from freqd.evaluate.spread import spread
from freqd.evaluate.validation import Validation
from freqd.teachers import softmax
from freqd.teachers.lowpass import lowpass_factors, lowpass_table
from freqd.teachers.softmax import SoftmaxGrid, SoftmaxTerm, sampled_softmax, scaled, softmax_start, train_softmax
from freqd.training.environment import TrainingEnvironment
from freqd.training.optim import OptimConfig
from freqd.training.sampling import Batch


def plain(
    users: Tensor, positives: Tensor, negatives: Tensor, log_weights: Tensor, items: tuple[Tensor, Tensor]
) -> Tensor:
    """As the definition reads, by autograd."""
    others = (users @ negatives.T + log_weights).masked_fill(items[0][:, None] == items[1], -torch.inf)
    logits = torch.cat([(users * positives).sum(1, keepdim=True), others], dim=1)
    return torch.nn.functional.cross_entropy(logits, torch.zeros(len(users), dtype=torch.long))


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 30.0]), dtype=st.sampled_from([torch.float64]))
def test_value_and_gradients_are_those_of_the_definition(seed: int, scale: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    users, positives, negatives = (
        (scale * torch.randn(n, 3, generator=generator, dtype=dtype)).requires_grad_() for n in (4, 4, 6)
    )
    log_weights = torch.randn(6, generator=generator, dtype=dtype)
    items = torch.randint(3, (4,), generator=generator), torch.randint(3, (6,), generator=generator)
    if seed % 4 == 0:
        items[1][:] = items[0][0]  # for the first pair nothing but the positive: no loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "PAIRS_AT_ONCE", 1 + seed % 4)
        found, wanted = (loss(users, positives, negatives, log_weights, items) for loss in (sampled_softmax, plain))
    torch.testing.assert_close(found, wanted)
    rows = (users, positives, negatives)
    for one, other in zip(torch.autograd.grad(3 * found, rows), torch.autograd.grad(3 * wanted, rows), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


class Rows:
    """Two tables as a view."""

    def __init__(self, users: np.ndarray, items: np.ndarray) -> None:
        self.tables = SimpleNamespace(users=torch.from_numpy(users), items=torch.from_numpy(items))
        self.users = self.raw_users = lambda index: self.tables.users[index]
        self.items = self.raw_items = lambda index: self.tables.items[index]


@pytest.fixture(scope="module")
def step(train) -> tuple[Rows, Batch, float]:
    """A view, a batch, and the full softmax loss of the batch."""
    rng = np.random.default_rng(0)
    users, items = (0.7 * rng.standard_normal((n, 4), dtype=np.float32) for n in train.shape)
    user, item = (torch.from_numpy(part[:200].astype(np.int64)) for part in train.nonzero())
    logits = torch.from_numpy(users)[user] @ torch.from_numpy(items).T
    wanted = float(torch.nn.functional.cross_entropy(logits, item))
    return Rows(users, items), Batch(user, item, item, user), wanted


def test_with_few_items_it_is_the_full_softmax(train, step) -> None:
    view, batch, wanted = step
    term = SoftmaxTerm(train, negatives=train.shape[1])
    assert float(term.loss(view, batch)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_with_many_items_it_is_the_full_softmax_up_to_noise(train, step, power: float) -> None:
    view, batch, wanted = step
    term = SoftmaxTerm(train, negatives=100, power=power)
    term.begin_epoch(1, None, np.random.default_rng(0))
    losses = [float(term.loss(view, batch)) for _ in range(300)]
    assert np.std(losses) > 0
    assert np.mean(losses) == pytest.approx(wanted, abs=0.02)  # the logarithm of the noise costs a little


def test_popular_items_are_drawn_more_often(train) -> None:
    degrees = np.bincount(train.indices, minlength=train.shape[1])
    drawn = {}
    for power in (0.0, 1.0):
        term = SoftmaxTerm(train, negatives=150, power=power)
        term.begin_epoch(1, None, np.random.default_rng(0))
        drawn[power] = np.mean([degrees[term._draw()[0]].mean() for _ in range(40)])
    assert drawn[0.0] == pytest.approx(degrees.mean(), rel=0.05)
    assert drawn[1.0] == pytest.approx((degrees**2).sum() / degrees.sum(), rel=0.05)


def test_the_start_is_the_low_pass_table_and_can_be_scaled(train) -> None:
    start = softmax_start(train, 8, seed=0)
    np.testing.assert_array_equal(start.items, lowpass_table(lowpass_factors(train, 8, seed=0), 8).items)
    wide = softmax_start(train, min(train.shape) + 5, seed=0)
    assert wide.dim == min(train.shape) + 5
    assert not wide.items[:, -5:].any()
    larger = scaled(start, train, start_spread=2.5, seed=0)
    assert spread(larger, train, seed=0) == pytest.approx(2.5, rel=1e-4)
    for one, other in ((start.users, larger.users), (start.items, larger.items)):
        ratio = other[one != 0] / one[one != 0]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


GRID = SoftmaxGrid((0.01, 0.002), (0.0, 0.01), negatives=64, optim=OptimConfig(epochs=6, eval_every=1, batch_size=256))


def test_the_best_of_all_trainings_is_kept_and_is_better_than_the_start(tastes: Split, tmp_path: Path) -> None:
    validation = Validation.of(tastes, limit=None, seed=0)
    environment = TrainingEnvironment(seed=0, device="cpu", checkpoint=tmp_path)
    found = train_softmax(tastes, 4, GRID, environment)
    info = found.info
    assert [(t["learning_rate"], t["weight_decay"]) for t in info["trials"]] == [
        (0.01, 0.0),
        (0.01, 0.01),
        (0.002, 0.0),
        (0.002, 0.01),
    ]
    assert info["valid_ndcg_at_10"] == validation(found.features) == max(t["valid_ndcg_at_10"] for t in info["trials"])
    start = softmax_start(tastes.train.matrix(), 4, seed=0)
    assert info["valid_ndcg_at_10"] > validation(start)
    assert info["kind"] == "softmax"
    assert info["factors"] == found.features.dim == 4
    assert all(set(entry["losses"]) == {"softmax"} for entry in found.history[1:])
    assert len(list((tmp_path / "softmax-4").iterdir())) == 4
    again = train_softmax(tastes, 4, GRID, TrainingEnvironment(seed=0, device="cpu"))
    np.testing.assert_array_equal(found.features.users, again.features.users)


def test_a_start_that_is_given_is_where_it_starts(tastes: Split) -> None:
    rng = np.random.default_rng(0)
    given_start = Embeddings(*(rng.standard_normal((n, 4), dtype=np.float32) for n in (200, 80)))
    grid = replace(GRID, learning_rate=(1e-9,), weight_decay=(0.0,), optim=OptimConfig(epochs=1))
    found = train_softmax(tastes, 4, grid, TrainingEnvironment(seed=0, device="cpu"), given_start)
    ratio = found.features.users / given_start.users
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)


def test_no_negatives_are_refused(train) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SoftmaxTerm(train, negatives=0)
