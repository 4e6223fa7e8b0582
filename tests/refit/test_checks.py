"""What stops a refit: whatever is broken is seen, and an ordinary one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from freqd.data import everything
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.refit.checks import check_refit
from freqd.refit.report import RefitReport
from freqd.teachers.lowpass import lowpass_factors, lowpass_table
from tests.evaluate.conftest import assemble
from tests.oracles import grocery_like

DIM = 12
Break = Callable[[Embeddings], Embeddings]


def table(split: Split) -> Embeddings:
    return lowpass_table(lowpass_factors(split.train.matrix(), DIM, seed=0), DIM)


@pytest.fixture(scope="module")
def judged() -> Split:
    """Groups of taste; a new user who took what others took, and a new item."""
    whole = grocery_like(0, mean=16.0)
    part = np.random.default_rng(1).choice(3, len(whole), p=[0.8, 0.1, 0.1])
    parts = [Interactions(whole.user[part == n], whole.item[part == n], whole.n_users, whole.n_items) for n in range(3)]
    split = assemble(*parts)
    late = [("new", item) for item in split.item_ids[:6]] + [(user, "new item") for user in split.user_ids[:6]]
    return replace(split, latecomers=pl.DataFrame(late, schema=["user", "item"], orient="row"))


def check(judged: Split, change: Break = lambda refit: refit) -> RefitReport:
    whole = everything(judged)
    return check_refit(table(judged), change(table(whole)), judged, whole, seed=0)


def failed(report: RefitReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def test_an_ordinary_refit_passes_and_is_counted(judged: Split) -> None:
    found = check(judged)
    assert found.accepted, found.reasons
    assert found.reasons == ()
    assert (found.new_users, found.new_items) == (1, 1)
    assert (found.users, found.items) == (judged.n_users + 1, judged.n_items + 1)
    assert len(found.checks) == 7


def popular(refit: Embeddings) -> Embeddings:
    """Everybody gets the same best-sellers, in nearly the same order."""
    best = np.linspace(1.0, 2.0, len(refit.items), dtype=np.float32)[:, None]
    return Embeddings(np.ones_like(refit.users), np.repeat(best, DIM, axis=1))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda t: Embeddings(np.roll(t.users, 150, axis=0), t.items), "overlap of the top 10 with the judged twin"),
        (lambda t: Embeddings(t.users, np.roll(t.items, 1, axis=0)), "overlap of the top 10 with the judged twin"),
        (lambda t: Embeddings(np.where(t.users > 0.5, np.nan, t.users), t.items), "numbers are finite"),
        (lambda t: Embeddings(t.users, 5 * t.items), "spread of scores, times the twin's"),
        (lambda t: Embeddings(t.users, t.items / 5), "spread of scores, times the twin's"),
        (popular, "item coverage@10, times the twin's"),
        (lambda t: Embeddings(t.users * (np.arange(len(t.users)) % 3 > 0)[:, None], t.items), "users of the newest data known"),
        (lambda t: Embeddings(t.users, t.items * (np.arange(len(t.items)) % 3 > 0)[:, None]), "items of the newest data known"),
    ],
)  # fmt: skip
def test_what_is_broken_is_refused(judged: Split, change: Break, name: str) -> None:
    found = check(judged, change)
    assert not found.accepted
    assert name in failed(found)
    assert any(reason.startswith(name) for reason in found.reasons)


def test_best_sellers_for_everybody_are_refused_though_they_overlap_by_chance(judged: Split) -> None:
    whole = everything(judged)
    degrees = np.bincount(whole.train.item, minlength=whole.n_items).astype(np.float32)
    found = check(judged, lambda t: Embeddings(np.ones_like(t.users), np.repeat(degrees[:, None], DIM, axis=1)))
    assert {"overlap of the top 10 with the judged twin", "mean item popularity@10, times the twin's"} & failed(found)


def test_tables_of_another_size_are_refused(judged: Split) -> None:
    found = check(judged, lambda t: Embeddings(t.users[:-1], t.items))
    assert not found.accepted
    assert "users, the data" in found.reasons[-1] or "items, the data" in found.reasons[-1]
