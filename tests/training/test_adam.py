import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from freqd.training import row_kernels as optimizers
from freqd.training.adam import DenseAdam
from freqd.training.row_adam import RowAdam, RowTable


def step_both(table, parameter, adam, index, target):
    """One step of the same loss on a ``RowTable`` and on a dense parameter."""
    for gather in (table.gather, lambda i: parameter[i]):
        if len(index):
            loss = ((gather(index) - target[index]) ** 2).sum() + gather(index[:2]).sum().cos()
            loss.backward()
    table.step()
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    adam.zero_grad(set_to_none=False)


def moments(table):
    """Adam's m and v of a table's present step, from what it keeps of each row's last step with a gradient."""
    last = table.rows.marks[:, optimizers.LAST, None].astype(np.float64)
    missed = table.step_count - last
    share = np.sqrt(1 - 0.999 ** np.maximum(last, 1))
    moment = 0.9**missed * table.rows.ratio * (table.rows.deviation / share + 1e-8)
    variance = 0.999**missed * table.rows.deviation.astype(np.float64) ** 2
    return torch.from_numpy(moment).float(), torch.from_numpy(variance).float()


@pytest.mark.parametrize("touched", ["all", "some", "seldom"])
@pytest.mark.parametrize("learning_rate", [0.02, 1e-3])
def test_row_table_is_dense_adam(touched, learning_rate):
    """Rows that no batch touches, for a step or for hundreds, move as torch's Adam moves them."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn((9, 5), generator=generator)
    target = torch.randn((9, 5), generator=generator)
    parameter = nn.Parameter(start.clone())
    adam = torch.optim.Adam([parameter], lr=learning_rate)
    table = RowTable(start.clone(), learning_rate)
    for step in range(700):
        index = {
            "all": torch.arange(9),
            "some": torch.randint(0, 3 if step < 40 else 8, (4,), generator=generator),
            "seldom": torch.tensor([row for row, every in enumerate((1, 2, 5, 17, 40, 130, 300)) if step % every == 0]),
        }[touched]
        step_both(table, parameter, adam, index, target)
    table.catch_up()
    torch.testing.assert_close(table.weight, parameter.detach(), rtol=1e-4, atol=1e-5)
    moment, variance = moments(table)
    torch.testing.assert_close(moment, adam.state[parameter]["exp_avg"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(variance, adam.state[parameter]["exp_avg_sq"], rtol=1e-3, atol=1e-6)
    if touched != "all":
        assert torch.equal(table.weight[8], start[8])


def test_another_step_size_holds_for_the_steps_after_it_only():
    """Rows that were not read for long make up what they missed with the step size of those steps."""
    generator = torch.Generator().manual_seed(0)
    start, target = torch.randn((4, 3), generator=generator), torch.randn((4, 3), generator=generator)
    parameter = nn.Parameter(start.clone())
    adam = torch.optim.Adam([parameter], lr=0.05)
    table = RowTable(start.clone(), 0.05)
    for step in range(60):
        if step % 20 == 10:
            adam.param_groups[0]["lr"] = 0.05 / step
            table.set_step_size(0.05 / step)
        rows = torch.tensor([row for row, every in enumerate((1, 3, 25, 1000)) if step % every == 0])
        step_both(table, parameter, adam, rows, target)
    table.catch_up()
    torch.testing.assert_close(table.weight, parameter.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 60])
def test_missed_steps_are_made_up_in_the_first_steps_too(n_steps):
    """Where the bias corrections change fastest: one gradient, then nothing."""
    parameter = nn.Parameter(torch.ones(1, 3))
    adam = torch.optim.Adam([parameter], lr=0.1)
    table = RowTable(torch.ones(1, 3), 0.1)
    for step in range(n_steps):
        step_both(table, parameter, adam, torch.zeros(int(step == 0), dtype=torch.int64), torch.full((1, 3), 0.2))
    table.catch_up()
    torch.testing.assert_close(table.weight, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_long_trainings_go_on_after_the_schedule_ends(monkeypatch):
    monkeypatch.setattr("freqd.training.row_adam.SCHEDULE_LENGTH", 15_000)
    start = 14_980
    parameter = nn.Parameter(torch.ones(2, 2))
    adam = torch.optim.Adam([parameter], lr=1e-3)
    table = RowTable(torch.ones(2, 2), 1e-3)
    # m = .1 and v = .2, as a row keeps them.
    deviation = torch.full((2, 2), 0.2).sqrt()
    ratio = 0.1 / (deviation / (1 - 0.999**start) ** 0.5 + 1e-8)
    last = torch.full((2,), start, dtype=torch.int32)
    table.load({"ratio": ratio, "deviation": deviation, "last": last, "step": torch.tensor(start)})
    adam.state[parameter] = {
        "step": torch.tensor(float(start)),
        "exp_avg": torch.full((2, 2), 0.1),
        "exp_avg_sq": torch.full((2, 2), 0.2),
    }
    for step in range(60):
        step_both(table, parameter, adam, torch.zeros(int(step % 9 == 0), dtype=torch.int64), torch.zeros(2, 2))
    table.catch_up()
    torch.testing.assert_close(table.weight, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_gather_takes_any_shape_and_sums_repeated_rows():
    table = RowTable(torch.arange(12.0).reshape(4, 3), 0.1)
    index = torch.tensor([[1, 1], [3, 1]])
    rows = table.gather(index)
    assert rows.shape == (2, 2, 3)
    assert torch.equal(rows.detach(), table.weight[index])
    factors = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    (rows * factors[..., None]).sum().backward()
    expected = np.zeros((4, 3), np.float32)
    expected[1], expected[3] = 11.0, 4.0
    rows = table.rows
    touched = rows.touched[: rows.n_touched[0]]
    assert sorted(touched) == [1, 3]
    np.testing.assert_array_equal(rows.gradient[:2], expected[touched])
    table.step()
    assert not rows.gradient.any()
    assert rows.n_touched[0] == 0
    assert table.gather(torch.zeros((0,), dtype=torch.int64)).shape == (0, 3)


def test_combine_is_a_sparse_product():
    """Against torch, after steps that leave some rows behind."""
    rng = np.random.default_rng(0)
    table = RowTable(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), 0.1)
    for rows in ([0, 3, 4], [3], [5]):
        table.gather(torch.tensor(rows)).sin().sum().backward()
        table.step()
    matrix = ((rng.random((6, 12)) < 0.4) * rng.normal(size=(6, 12))).astype(np.float32)
    matrix[2] = 0.0
    csr = sparse.csr_array(matrix)
    arrays = csr.indptr.astype(np.int64), csr.indices.astype(np.int64), csr.data
    out = table.combine(*(torch.from_numpy(array) for array in arrays))
    factors = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    (out * factors).sum().backward()
    gradient = np.zeros((12, 5), np.float32)
    touched = table.rows.touched[: table.rows.n_touched[0]]
    gradient[touched] = table.rows.gradient[: len(touched)]
    np.testing.assert_allclose(gradient, matrix.T @ factors.numpy(), rtol=1e-5, atol=1e-6)
    table.catch_up()
    np.testing.assert_allclose(out.detach(), matrix @ table.weight.numpy(), rtol=1e-5, atol=1e-6)


class Rows:
    """A ``RowTable`` with its optimizer, as the test below wants it."""

    def __init__(self, start):
        self.table = RowTable(start.clone(), 0.05)
        self.optimizer = RowAdam({"a": self.table})
        self.gather = self.table.gather

    def weight(self):
        self.table.catch_up()
        return self.table.weight


class Dense:
    """The same over a dense parameter."""

    def __init__(self, start):
        self.parameter = nn.Parameter(start.clone())
        self.optimizer = DenseAdam([self.parameter], 0.05)

    def gather(self, index):
        return self.parameter[index]

    def weight(self):
        return self.parameter.detach()


@pytest.mark.parametrize("build", [Rows, Dense])
def test_state_takes_up_where_it_stopped(build):
    def train(model, steps):
        for step in steps:
            model.gather(torch.tensor([step % 3])).sin().sum().backward()
            model.optimizer.step()
        return {name: value.clone() for name, value in model.optimizer.state().items()}

    start = torch.linspace(-1, 1, 12).reshape(4, 3)
    whole, half = build(start), build(start)
    train(whole, range(20))
    train(whole, range(20, 40))
    state = train(half, range(20))
    resumed = build(half.weight())
    resumed.optimizer.load(state)
    train(resumed, range(20, 40))
    assert torch.equal(whole.weight(), resumed.weight())


def test_no_parameters_is_fine():
    optimizer = DenseAdam([], 0.1)
    optimizer.step()
    optimizer.set_step_size(0.2)
    assert optimizer.state() == {}
    optimizer.load({})
