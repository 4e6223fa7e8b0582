import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.models.lightgcn import LightGCN, bipartite_norm_adj
from freqd.models.sampling import Sampler
from freqd.models.training import bpr_loss

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


def test_training_is_dense_autograd_and_adam(train):
    model = LightGCN(train, 4, 3, seed=3)
    (start,) = (table.detach().clone() for table in model.tables().values())
    dense = torch.nn.Parameter(start.double())
    adam = torch.optim.Adam([dense], lr=0.01)
    optimizer = model.prepare(CPU, 0.01)
    matrix = torch.from_numpy(dense_map(train, 3)[1])
    for epoch in range(4):
        for batch in Sampler(train, 8, CPU).epoch(0, epoch):
            view = model.view()
            loss = bpr_loss(view, batch) + view.raw_users(batch.rank_users).square().mean()
            loss.backward()
            optimizer.step()
            final = matrix @ dense
            users, items = final[:7], final[7:]
            difference = (users[batch.users] * (items[batch.positives] - items[batch.negatives])).sum(1)
            expected = -torch.log(torch.sigmoid(difference)).mean() + dense[batch.rank_users].square().mean()
            adam.zero_grad()
            expected.backward()
            adam.step()
            assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    got = next(iter(model.tables().values())).detach().double()
    torch.testing.assert_close(got, dense.detach(), rtol=2e-3, atol=2e-5)
