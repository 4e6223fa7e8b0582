import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.models.mf import MatrixFactorization
from freqd.training.bpr_loss import bpr_loss, l2_loss
from freqd.training.sampling import Batch, Sampler

CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [4000, 8])
def test_the_loop_is_dense_autograd_and_adam(batch_size):
    """Against a dense model of nn.Parameters with torch's Adam, for batches that touch all rows and few."""
    rng = np.random.default_rng(0)
    train = sparse.csr_array((rng.random((20, 30)) < 0.2).astype(np.float32))
    model = MatrixFactorization((20, 30, 6), seed=1)
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


@pytest.mark.parametrize("dim", [1, 6, 20, 33])
@pytest.mark.parametrize(("base_weight", "weight_decay"), [(0.7, 0.0), (0.7, 0.3), (0.0, 0.3), (0.0, 0.0)])
def test_compiled_pairs_are_autograd_and_meet_the_other_terms(dim, base_weight, weight_decay):
    """The compiled gradient against ``bpr_loss`` and ``l2_loss``, over steps in which rows are missed and repeated."""
    generator = torch.Generator().manual_seed(0)
    compiled, plain = (MatrixFactorization((40, 50, dim), seed=1, std=0.5) for _ in range(2))
    optimizers = [model.prepare(CPU, 0.01) for model in (compiled, plain)]
    for _ in range(12):
        users, positives, negatives = (torch.randint(0, n, (30,), generator=generator) for n in (40, 25, 50))
        batch = Batch(users, positives, negatives + (negatives == positives), users[:5])
        others = [model.view() for model in (compiled, plain)]
        terms = [view.items(batch.rank_users).cos().sum() for view in others]
        bpr = others[0].backward(batch, terms[0], base_weight, weight_decay)
        expected = bpr_loss(others[1], batch)
        (terms[1] + base_weight * expected + weight_decay * l2_loss(others[1], batch)).backward()
        torch.testing.assert_close(bpr, expected.detach() if base_weight or weight_decay else torch.zeros(()))
        for optimizer in optimizers:
            optimizer.step()
    got, wanted = compiled.features(), plain.features()
    # Adam divides by the size of the gradient: where that is 0 but for rounding, only the step size binds the result.
    np.testing.assert_allclose(got.users, wanted.users, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got.items, wanted.items, rtol=1e-3, atol=1e-4)


def test_differences_of_any_size_have_a_finite_loss():
    init = Embeddings(np.float32([[300.0], [-300.0], [0.0]]), np.float32([[1.0], [0.0]]))
    model = MatrixFactorization((3, 2, 1), init=init, seed=0)
    model.prepare(CPU, 0.1)
    users, zeros = torch.arange(3).repeat(1000), torch.zeros(3000, dtype=torch.int64)
    loss = model.view().backward(Batch(users, zeros, zeros + 1, users[:1]), torch.zeros(()), 1.0, 0.0)
    assert loss.item() == pytest.approx((300.0 + np.log(2.0)) / 3, rel=1e-5)


def test_a_view_reads_an_index_once_and_raw_is_final():
    model = MatrixFactorization((6, 5, 3), seed=0)
    model.prepare(CPU, 0.1)
    view = model.view()
    index = torch.tensor([4, 1, 4])
    assert view.users(index) is view.raw_users(index)
    assert view.users(index) is not view.users(index.clone())
    assert torch.equal(view.users(index), view.users(index.clone()))
    assert torch.equal(view.users(index).detach(), model.tables()["users"][index])
    assert torch.equal(view.raw_items(index).detach(), model.tables()["items"][index])


def test_init_is_copied_and_features_share_memory():
    init = Embeddings(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))
    model = MatrixFactorization((3, 4, 2), init=init, seed=0)
    model.prepare(CPU, 0.1)
    features = model.features()
    np.testing.assert_array_equal(features.users, init.users)
    model.tables()["users"][0, 0] = 5.0
    assert features.users[0, 0] == 5.0
    assert init.users[0, 0] == 1.0
    assert model.extra() == {}
    assert model.shape == (3, 4, 2)


def test_init_of_another_shape_is_refused():
    init = Embeddings(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(5, 2\)"):
        MatrixFactorization((3, 5, 2), init=init, seed=0)


def test_random_start_depends_on_the_seed():
    a, b, c = (MatrixFactorization((30, 40, 5), seed=s).features().users for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()
