import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.models.lightgcn import LightGCN, bipartite_norm_adj
from freqd.models.propagation import whole_propagation
from freqd.numerics.threads import limited
from freqd.training.sampling import Sampler

CPU = torch.device("cpu")


@pytest.fixture
def train():
    dense = (np.random.default_rng(0).random((7, 9)) < 0.35).astype(np.float32)
    dense[2] = 0.0
    dense[:, 4] = 0.0
    return sparse.csr_array(dense)


def dense_map(train, layers):
    """1/(L+1) · Σ Âᵏ, from dense matrix powers."""
    n_users, n_items = train.shape
    adjacency = np.zeros((n_users + n_items,) * 2)
    adjacency[:n_users, n_users:] = train.toarray()
    adjacency += adjacency.T
    degrees = adjacency.sum(1)
    scale = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    norm = scale[:, None] * adjacency * scale
    return norm, sum(np.linalg.matrix_power(norm, k) for k in range(layers + 1)) / (layers + 1)


def test_normalised_adjacency(train):
    norm_adj = bipartite_norm_adj(train)
    np.testing.assert_allclose(norm_adj.toarray(), dense_map(train, 1)[0], rtol=1e-6)
    assert norm_adj.dtype == np.float32
    assert (norm_adj != norm_adj.T).nnz == 0


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_features_are_the_mean_of_dense_matrix_powers(train, layers):
    model = LightGCN(train, 4, layers, seed=3)
    raw = model.extra()
    expected = dense_map(train, layers)[1] @ np.vstack([raw["raw_users"], raw["raw_items"]])
    features = model.features()
    np.testing.assert_allclose(np.vstack([features.users, features.items]), expected, rtol=1e-4, atol=1e-6)
    view = model.view()
    index = torch.tensor([3, 0, 3])
    np.testing.assert_array_equal(view.users(index).detach(), features.users[index])
    np.testing.assert_array_equal(view.items(index).detach(), features.items[index])
    np.testing.assert_array_equal(view.raw_users(index).detach(), raw["raw_users"][index])
    np.testing.assert_array_equal(view.raw_items(index).detach(), raw["raw_items"][index])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_training_is_dense_autograd_and_adam(train, layers):
    model = LightGCN(train, 4, layers, seed=3)
    (start,) = (table.detach().clone() for table in model.tables().values())
    dense = torch.nn.Parameter(start.double())
    adam = torch.optim.Adam([dense], lr=0.01)
    optimizer = model.prepare(CPU, 0.01)
    matrix = torch.from_numpy(dense_map(train, layers)[1])
    for epoch in range(4):
        for batch in Sampler(train, 8, CPU).epoch(0, epoch):
            view = model.view()
            other = view.raw_users(batch.rank_users).square().mean()
            bpr = view.backward(batch, other, 1.0, 0.0)
            optimizer.step()
            final = matrix @ dense
            users, items = final[:7], final[7:]
            difference = (users[batch.users] * (items[batch.positives] - items[batch.negatives])).sum(1)
            expected = -torch.log(torch.sigmoid(difference)).mean() + dense[batch.rank_users].square().mean()
            adam.zero_grad()
            expected.backward()
            adam.step()
            assert bpr.item() + other.item() == pytest.approx(expected.item(), rel=1e-4)
    got = next(iter(model.tables().values())).detach().double()
    torch.testing.assert_close(got, dense.detach(), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_a_step_reads_are_those_of_all_features(threads):
    """On a graph of more blocks than threads, with rows read twice, in two shapes, and not at all."""
    rng = np.random.default_rng(1)
    train = sparse.csr_array((rng.random((300, 200)) < 0.05).astype(np.float32))
    with limited(threads):
        model = LightGCN(train, 20, 2, seed=0)
        model.prepare(CPU, 0.01)
        features, view = model.features(), model.view()
        index = torch.from_numpy(rng.integers(0, 200, (70, 3)))
        np.testing.assert_array_equal(view.items(index).detach(), features.items[index])
        np.testing.assert_array_equal(view.items(index[:5]).detach(), features.items[index[:5]])
        np.testing.assert_array_equal(view.users(index[:, 0]).detach(), features.users[index[:, 0]])


def test_the_other_devices_map_is_the_same(train):
    """What CUDA runs, on the CPU: forward and gradient."""
    norm_adj = bipartite_norm_adj(train)
    parameters = torch.randn(16, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    features = whole_propagation(norm_adj, 2, CPU)(parameters)
    matrix = torch.from_numpy(dense_map(train, 2)[1]).float()
    torch.testing.assert_close(features, matrix @ parameters, rtol=1e-4, atol=1e-6)
    features.sin().sum().backward()
    torch.testing.assert_close(parameters.grad, matrix @ features.detach().cos(), rtol=1e-4, atol=1e-6)
