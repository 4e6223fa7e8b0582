import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.features import FeatureTable
from freqd.models.mf import MatrixFactorization
from freqd.models.sampling import Sampler
from freqd.models.training import bpr_loss, l2_loss

CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [4000, 8])
def test_the_loop_is_dense_autograd_and_adam(batch_size):
    """Against a dense model of nn.Parameters with torch's Adam, for batches that touch all rows and few."""
    rng = np.random.default_rng(0)
    train = sparse.csr_array((rng.random((20, 30)) < 0.2).astype(np.float32))
    model = MatrixFactorization(20, 30, 6, seed=1)
    users, items = (torch.nn.Parameter(table.clone()) for table in model.tables().values())
    adam = torch.optim.Adam([users, items], lr=0.01)
    optimizer = model.prepare(CPU, 0.01)
    for epoch in range(8):
        for batch in Sampler(train, batch_size, CPU).epoch(0, epoch):
            view = model.view()
            loss = bpr_loss(view, batch) + 0.05 * l2_loss(view, batch)
            loss.backward()
            optimizer.step()
            scores = users @ items.T
            positive, negative = scores[batch.users, batch.positives], scores[batch.users, batch.negatives]
            norms = users.square().sum(1)[batch.users] + sum(
                items.square().sum(1)[part] for part in (batch.positives, batch.negatives)
            )
            expected = (-torch.log(torch.sigmoid(positive - negative)) + 0.05 / 2 * norms).mean()
            adam.zero_grad()
            expected.backward()
            adam.step()
            torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0.0)
    features = model.features()
    np.testing.assert_allclose(features.users, users.detach().numpy(), rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(features.items, items.detach().numpy(), rtol=2e-2, atol=1e-3)


def test_a_view_reads_an_index_once_and_raw_is_final():
    model = MatrixFactorization(6, 5, 3, seed=0)
    model.prepare(CPU, 0.1)
    view = model.view()
    index = torch.tensor([4, 1, 4])
    assert view.users(index) is view.raw_users(index)
    assert view.users(index) is not view.users(index.clone())
    assert torch.equal(view.users(index), view.users(index.clone()))
    assert torch.equal(view.users(index).detach(), model.tables()["users"][index])
    assert torch.equal(view.raw_items(index).detach(), model.tables()["items"][index])


def test_init_is_copied_and_features_share_memory():
    init = FeatureTable(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))
    model = MatrixFactorization(3, 4, 2, init=init, seed=0)
    model.prepare(CPU, 0.1)
    features = model.features()
    np.testing.assert_array_equal(features.users, init.users)
    model.tables()["users"][0, 0] = 5.0
    assert features.users[0, 0] == 5.0
    assert init.users[0, 0] == 1.0
    assert model.extra() == {}
    assert model.shape == (3, 4, 2)


def test_init_of_another_shape_is_refused():
    init = FeatureTable(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(5, 2\)"):
        MatrixFactorization(3, 5, 2, init=init, seed=0)


def test_random_start_depends_on_the_seed():
    a, b, c = (MatrixFactorization(30, 40, 5, seed=s).features().users for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()
