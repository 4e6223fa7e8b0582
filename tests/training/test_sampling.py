import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.training.sampling import Sampler

CPU = torch.device("cpu")


def random_train(rng, n_users, n_items, density):
    matrix = sparse.csr_array((rng.random((n_users, n_items)) < density).astype(np.float32))
    matrix.sort_indices()
    return matrix


def epoch_arrays(sampler, seed, epoch):
    batches = list(sampler.epoch(seed, epoch))
    return {
        name: torch.cat([getattr(batch, name) for batch in batches]).numpy() if batches else np.zeros(0, int)
        for name in ("users", "positives", "negatives", "rank_users")
    }


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n_users=st.integers(1, 12),
    n_items=st.integers(1, 15),
    density=st.sampled_from([0.0, 0.2, 0.6, 0.95, 1.0]),
    batch_size=st.integers(1, 40),
)
def test_an_epoch_is_every_usable_pair_once_and_no_negative_is_a_positive(seed, n_users, n_items, density, batch_size):
    train = random_train(np.random.default_rng(seed), n_users, n_items, density)
    dense = train.toarray()
    sampler = Sampler(train, batch_size, CPU)
    got = epoch_arrays(sampler, seed, 1)

    usable = [(u, i) for u, i in zip(*np.nonzero(dense), strict=True) if dense[u].sum() < n_items]
    assert sorted(zip(got["users"], got["positives"], strict=True)) == usable
    assert (dense[got["users"], got["negatives"]] == 0).all()
    if usable:
        assert set(got["rank_users"]) == set(np.flatnonzero(dense.sum(1)))
        assert len(got["rank_users"]) == max(np.count_nonzero(dense.sum(1)), sampler.n_steps)
    assert all(len(batch.rank_users.unique()) == len(batch.rank_users) > 0 for batch in sampler.epoch(seed, 1))
    sizes = [len(batch.users) for batch in sampler.epoch(seed, 1)]
    assert len(sizes) == sampler.n_steps == -(-len(usable) // batch_size)
    assert not sizes or max(sizes) - 1 <= min(sizes) <= max(sizes) <= batch_size


def test_negatives_are_uniform_over_what_the_user_lacks():
    n_items = 40
    owned = np.array([0, 1, 2, 7, 19, 20, 38, 39])
    train = sparse.csr_array((np.ones(8, np.float32), owned, [0, 8]), shape=(1, n_items))
    sampler = Sampler(train, 8, CPU)
    counts = np.zeros(n_items)
    for epoch in range(2500):
        np.add.at(counts, epoch_arrays(sampler, 3, epoch)["negatives"], 1)
    assert counts[owned].sum() == 0
    free = np.setdiff1d(np.arange(n_items), owned)
    expected = 20_000 / len(free)
    chi2 = ((counts[free] - expected) ** 2 / expected).sum()
    assert chi2 < 61.1  # 99.9 % quantile with 31 degrees of freedom


def test_epochs_depend_on_seed_and_epoch_only():
    train = random_train(np.random.default_rng(0), 30, 40, 0.2)
    first = epoch_arrays(Sampler(train, 16, CPU), 5, 2)
    again = epoch_arrays(Sampler(train, 16, CPU), 5, 2)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    for seed, epoch in ((5, 3), (6, 2)):
        other = epoch_arrays(Sampler(train, 16, CPU), seed, epoch)
        assert (other["positives"] != first["positives"]).any()
        assert (other["negatives"] != first["negatives"]).any()


def test_rank_users_are_spread_evenly_over_the_steps():
    train = random_train(np.random.default_rng(1), 50, 40, 0.2)
    sizes = [len(batch.rank_users) for batch in Sampler(train, 64, CPU).epoch(0, 1)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_same_holds():
    train = random_train(np.random.default_rng(2), 50, 40, 0.3)
    batches = list(Sampler(train, 64, torch.device("cuda")).epoch(0, 1))
    users, positives, negatives = (
        torch.cat([getattr(b, name) for b in batches]).cpu().numpy() for name in ("users", "positives", "negatives")
    )
    dense = train.toarray()
    assert sorted(zip(users, positives, strict=True)) == list(zip(*np.nonzero(dense), strict=True))
    assert (dense[users, negatives] == 0).all()
