import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from freqd.config import TeacherConfig
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.errors import DivergedError, FreqdError
from freqd.models.lightgcn import LightGCN
from freqd.models.mf import MatrixFactorization
from freqd.teachers.gradient import train_by_gradient
from freqd.training import checkpoint as checkpointing
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig
from tests.learning import Judged

N_USERS, N_ITEMS = 120, 80


@pytest.fixture(scope="module")
def planted():
    """Train and held-out interactions drawn from the top of rank-3 scores: popularity alone knows little."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(N_USERS, 3)) @ rng.normal(size=(3, N_ITEMS))
    likes = np.argsort(-scores, axis=1)[:, :16]
    train, held_out = np.zeros((2, N_USERS, N_ITEMS), np.float32)
    for user, items in enumerate(likes):
        chosen = rng.permutation(items)
        train[user, chosen[:11]] = 1.0
        held_out[user, chosen[11:]] = 1.0
    return sparse.csr_array(train), held_out


def recall(train, held_out, scores):
    ranked = np.argsort(-np.where(train.toarray() > 0, -np.inf, scores), axis=1)[:, :5]
    return np.take_along_axis(held_out, ranked, axis=1).mean()


def validator(planted):
    train, held_out = planted
    return lambda features: recall(train, held_out, features.users @ features.items.T)


QUICK = OptimConfig(epochs=40, batch_size=256, learning_rate=0.02, weight_decay=1e-3, eval_every=2)
HERE = TrainingEnvironment(seed=0, device="cpu")


def mf(dim=6, seed=0, init=None):
    return MatrixFactorization((N_USERS, N_ITEMS, dim), seed=seed, init=init)


def build(backbone, train):
    return mf() if backbone == "mf" else LightGCN(train, 6, 2, seed=0)


class Projection:
    """A term with parameters and randomness: a random direction of the users is to be predicted by a projector."""

    name = "projection"
    weight = 0.3

    def __init__(self):
        self.projector = nn.Linear(6, 2)
        with torch.no_grad():
            self.projector.weight.copy_(torch.linspace(-1, 1, 12).reshape(2, 6))
            self.projector.bias.zero_()
        self.epochs = []

    def parameters(self):
        return self.projector.parameters()

    def state(self):
        return {}

    def begin_epoch(self, epoch, student, rng):
        self.epochs.append(epoch)
        self.target = torch.from_numpy(rng.normal(size=(len(student.users), 2)).astype(np.float32))

    def loss(self, view, batch):
        return (self.projector(view.users(batch.rank_users)) - self.target[batch.rank_users]).square().mean()


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_learns_a_planted_structure_far_better_than_popularity(planted, backbone):
    train, held_out = planted
    popularity = recall(train, held_out, np.tile(train.sum(axis=0), (N_USERS, 1)))
    trained = fit(build(backbone, train), [], Judged(train, validator(planted)), QUICK, HERE)
    score = validator(planted)(trained.features)
    assert score > popularity + 0.25
    assert trained.info["valid_ndcg_at_10"] == pytest.approx(score)
    assert trained.history[-1]["loss"] < 0.5 < np.log(2)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_killed_and_resumed_is_bit_for_bit_as_if_never_stopped(planted, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "CHECKPOINT_SHARE", float("inf"))
    train, _ = planted
    settings = replace(QUICK, epochs=14)
    file = tmp_path / "deep" / "training.safetensors"

    def run(checkpoint, stop_at=None):
        def progress(done, text):
            if stop_at is not None and done * settings.epochs >= stop_at - 1e-6:
                raise Stopped

        return fit(
            build(backbone, train),
            [Projection()],
            Judged(train, validator(planted)),
            settings,
            replace(HERE, seed=3, checkpoint=checkpoint, progress=progress),
        )

    whole = run(None)
    for stop_at in (5, 9):
        with pytest.raises(Stopped):
            run(file, stop_at)
    resumed = run(file)
    assert resumed.info["resumed_from"] == 8
    np.testing.assert_array_equal(whole.features.users, resumed.features.users)
    np.testing.assert_array_equal(whole.features.items, resumed.features.items)
    assert whole.extra.keys() == resumed.extra.keys()
    for name in whole.extra:
        np.testing.assert_array_equal(whole.extra[name], resumed.extra[name])

    def timeless(history):
        return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]

    assert timeless(whole.history) == timeless(resumed.history)
    assert whole.info["best_epoch"] == resumed.info["best_epoch"]


def test_a_finished_training_is_not_done_again(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointing, "CHECKPOINT_SHARE", float("inf"))
    train, _ = planted
    settings = replace(QUICK, epochs=2)

    def run():
        return fit(
            mf(), [], Judged(train, validator(planted)), settings, replace(HERE, checkpoint=tmp_path / "c.safetensors")
        )

    first, second = run(), run()
    assert second.info["resumed_from"] == 2
    np.testing.assert_array_equal(first.features.users, second.features.users)


@pytest.mark.parametrize("change", ["seed", "settings", "damage"])
def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_resumed(planted, tmp_path, change):
    train, _ = planted
    settings = replace(QUICK, epochs=2)

    def run(settings, seed):
        return fit(mf(), [], Judged(train, validator(planted)), settings, replace(HERE, seed=seed, checkpoint=tmp_path))

    run(settings, 0)
    if change == "damage":
        file = tmp_path / "training.safetensors"
        file.write_bytes(file.read_bytes()[:-7])
    if change == "settings":
        settings = replace(settings, learning_rate=0.03)
    again = run(settings, int(change == "seed"))
    assert again.info["resumed_from"] is None
    assert again.info["epochs"] == 2


def test_checkpoints_hold_no_pickle(planted, tmp_path):
    train, _ = planted
    settings = replace(QUICK, epochs=2)
    fit(mf(), [], Judged(train, validator(planted)), settings, replace(HERE, checkpoint=tmp_path))
    content = (tmp_path / "training.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["epoch"] in (1, 2)
    assert "parts.optimizer/users.ratio" in header


def test_stops_early_and_returns_the_best(planted):
    train, _ = planted
    scores = iter([0.1, 0.3, 0.2, 0.2, 0.1, 0.9])
    seen = []

    def validate(features):
        seen.append(features.users.copy())
        return next(scores)

    settings = replace(QUICK, patience=3)
    trained = fit(mf(), [], Judged(train, validate), settings, HERE)
    assert trained.info["stopped"] == "patience"
    assert trained.info["best_epoch"] == 2
    assert trained.info["epochs"] == 8
    assert [entry["epoch"] for entry in trained.history] == [0, 2, 4, 6, 8]
    np.testing.assert_array_equal(trained.features.users, seen[1])


def test_a_warm_start_that_training_spoils_is_kept(planted):
    train, _ = planted
    init = Embeddings(np.ones((N_USERS, 6), np.float32), np.ones((N_ITEMS, 6), np.float32))
    scores = iter([0.5, 0.4, 0.3])
    settings = replace(QUICK, epochs=4)
    trained = fit(mf(init=init), [], Judged(train, lambda _: next(scores)), settings, HERE)
    assert trained.info["best_epoch"] == 0
    np.testing.assert_array_equal(trained.features.users, init.users)


def test_the_time_budget_ends_training_with_a_validation(planted):
    train, _ = planted
    fit(mf(), [], Judged(train, validator(planted)), QUICK, HERE)  # compiles the kernels
    settings = replace(QUICK, epochs=100_000, eval_every=90_000, max_seconds=1.0)
    trained = fit(mf(), [], Judged(train, validator(planted)), settings, HERE)
    assert trained.info["stopped"] == "time"
    assert [entry["epoch"] for entry in trained.history] == [0, trained.info["epochs"]]


def moves(planted, **changes):
    """How far the user features go from one epoch to the next."""
    train, _ = planted
    seen = []

    def look(epoch, features, ndcg):
        seen.append(features.users.copy())
        return {}

    settings = replace(QUICK, **({"patience": 10_000, "eval_every": 1} | changes))
    trained = fit(mf(), [], Judged(train, lambda _: 0.0), settings, replace(HERE, observe=look))
    return np.array([np.abs(b - a).mean() for a, b in pairwise(seen)]), trained


def test_steps_fall_to_nothing_at_the_end_if_they_decay(planted):
    constant, _ = moves(planted, epochs=40)
    late, _ = moves(planted, epochs=40, decay=0.5)
    all_along, _ = moves(planted, epochs=40, decay=1.0)
    np.testing.assert_array_equal(constant[:20], late[:20])
    assert constant[0] == all_along[0]
    assert late[-1] < 0.2 * constant[-1]
    assert all_along[-1] < 0.2 * constant[-1]


def test_steps_decay_by_the_clock_where_it_will_end_the_training(planted):
    moves(planted, epochs=1)  # compiles the kernels
    by_clock, trained = moves(planted, epochs=100_000, max_seconds=2.0, decay=1.0)
    assert trained.info["stopped"] == "time"
    assert by_clock[-1] < 0.2 * by_clock[len(by_clock) // 4]
    in_time, _ = moves(planted, epochs=10, max_seconds=1000.0, decay=1.0)
    no_clock, _ = moves(planted, epochs=10, decay=1.0)
    np.testing.assert_array_equal(in_time, no_clock)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_more_epochs_go_on_from_a_checkpoint_only_if_they_change_no_step_before_it(
    planted, tmp_path, decay, monkeypatch
):
    monkeypatch.setattr(checkpointing, "CHECKPOINT_SHARE", float("inf"))
    train, _ = planted

    def run(epochs):
        settings = replace(QUICK, epochs=epochs, decay=decay)
        return fit(mf(), [], Judged(train, validator(planted)), settings, replace(HERE, checkpoint=tmp_path))

    run(2)
    assert run(4).info["resumed_from"] == (2 if decay == 0 else None)


def test_divergence_is_an_error_with_a_remedy(planted):
    train, _ = planted

    class Broken(Projection):
        def loss(self, view, batch):
            return super().loss(view, batch) * float("nan")

    with pytest.raises(
        FreqdError, match=r"bpr and projection not finite in epoch 1 .*learning_rate 0.02\n.*lower the learning_rate"
    ):
        fit(mf(), [Broken()], Judged(train, validator(planted)), QUICK, HERE)


def test_a_step_size_beyond_all_reason_is_an_error_too(planted):
    train, _ = planted
    settings = replace(QUICK, learning_rate=1.0e30)
    with pytest.raises(DivergedError, match=r"not finite in epoch .*learning_rate 1e\+30"):
        fit(mf(), [], Judged(train, validator(planted)), settings, HERE)


def test_terms_and_observer_are_called_as_promised(planted):
    train, _ = planted
    term = Projection()
    ranked = []
    original = term.loss
    term.loss = lambda view, batch: ranked.append(batch.rank_users.clone()) or original(view, batch)
    settings = replace(QUICK, epochs=3, eval_every=2)
    told, watched = [], []

    def observe(epoch, features, score):
        watched.append((epoch, score))
        return {"norm": float(np.abs(features.users).sum()), "seen": epoch}

    trained = fit(
        mf(),
        [term],
        Judged(train, validator(planted)),
        settings,
        replace(HERE, progress=lambda done, text: told.append((done, text)), observe=observe),
    )
    assert watched == [(entry["epoch"], entry["valid_ndcg_at_10"]) for entry in trained.history]
    assert term.epochs == [1, 2, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(ranked)), np.repeat(np.arange(N_USERS), 3))
    assert [entry["seen"] for entry in trained.history] == [0, 2, 3]
    last = trained.history[-1]
    assert last["loss"] == pytest.approx(last["losses"]["bpr"] + 0.3 * last["losses"]["projection"])
    assert [done for done, _ in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert "epoch 3: loss" in told[-1][1]


def test_what_the_observer_raises_ends_the_training(planted):
    class Enough(Exception):
        pass

    def watch(epoch, features, score):
        if epoch == 4:
            raise Enough
        return {}

    told = []
    with pytest.raises(Enough):
        fit(mf(), [], Judged(planted[0], validator(planted)), QUICK, replace(HERE, progress=lambda done, text: told.append(done), observe=watch))  # fmt: skip
    assert len(told) == 3  # epochs 1 to 3; the fourth did not end


def test_without_the_base_loss_only_the_terms_train(planted):
    train, _ = planted
    settings = replace(QUICK, epochs=2, base_weight=0.0, weight_decay=0.0)
    trained = fit(mf(), [Projection()], Judged(train, lambda _: 0.0), settings, HERE)
    assert list(trained.history[-1]["losses"]) == ["projection"]
    with pytest.raises(ValueError, match="nothing to train"):
        fit(mf(), [], Judged(train, lambda _: 0.0), settings, HERE)


def test_teachers(planted, tmp_path):
    import polars as pl

    train, held_out = planted

    def part(matrix):
        user, item = np.nonzero(matrix)
        return Interactions(user.astype(np.int32), item.astype(np.int32), N_USERS, N_ITEMS)

    split = Split(
        part(train.toarray()),
        part(held_out),
        part(np.zeros_like(held_out)),
        pl.Series([str(n) for n in range(N_USERS)]),
        pl.Series([str(n) for n in range(N_ITEMS)]),
    )
    steps = {"epochs": 6, "batch_size": 256, "learning_rate": 0.02, "weight_decay": 1e-3, "eval_every": 2}
    for method in ("bpr", "lightgcn"):
        config = TeacherConfig(kind=method, **steps)
        folder = tmp_path / method
        folder.mkdir()
        trained = train_by_gradient(split, config, 5, replace(HERE, checkpoint=folder))
        assert trained.info["method"] == method
        assert trained.features.dim == 5
        assert trained.info["valid_ndcg_at_10"] > 0.2
        trained.write(folder)
        again = type(trained).read(folder)
        assert again.extra.keys() == trained.extra.keys()
        assert again.history == trained.history


GPU = pytest.param("cuda", "high", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.mark.parametrize(("device", "within"), [("cpu", "highest"), GPU])
def test_products_are_rounded_in_trainings_on_a_gpu_only(planted, device, within):
    term, seen = Projection(), set()
    original = term.loss
    term.loss = lambda view, batch: seen.add(torch.get_float32_matmul_precision()) or original(view, batch)
    term.projector.to(device)
    original_begin = term.begin_epoch

    def begin(epoch, student, rng):
        original_begin(epoch, student, rng)
        term.target = term.target.to(device)

    term.begin_epoch = begin
    settings = replace(QUICK, epochs=2)
    outside = []
    fit(mf(), [term], Judged(planted[0], lambda _: outside.append(torch.get_float32_matmul_precision()) or 0.0), settings, replace(HERE, device=device))  # fmt: skip
    assert seen == {within}
    assert set(outside) == {"highest"}


def test_the_step_size_by_the_clock_is_that_of_the_square():
    settings = replace(QUICK, epochs=1000, max_seconds=10.0, decay=1.0, learning_rate=1.0)
    assert settings.step_size(0, 5.0) == pytest.approx(0.75)
    assert settings.step_size(0, 8.0) == pytest.approx(0.36)
    assert settings.step_size(500, 5.0) == pytest.approx(0.5), "where the epochs are ahead the clock has no say"
    assert settings.step_size(0, 20.0) == 0.0
