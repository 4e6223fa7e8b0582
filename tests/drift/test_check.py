"""The check as a whole: the same is no drift, each kind of drift is found by its own measure, and the words fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.config import DriftConfig, GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions, Observed, Split
from freqd.drift import Drift, Fresh, Known, SpectralModel, check_drift, find_fresh
from freqd.embeddings import Embeddings
from tests.oracles import grocery_like

DAY = 86_400
START = 18_000 * DAY
DATA = grocery_like(0, 300, 120, mean=40.0)
SEED = 3
SPECTRAL = SpectralConfig(bands=4)


def dated(data: Interactions, first_day: int, days: int, seed: int = 0) -> Interactions:
    """At random moments of these days."""
    time = START + first_day * DAY + np.random.default_rng(seed).integers(0, days * DAY, len(data))
    return replace(data, time=time)


def rows(data: Interactions, which: np.ndarray) -> Interactions:
    return replace(
        data, user=data.user[which], item=data.item[which], time=None if data.time is None else data.time[which]
    )


def features() -> Embeddings:
    left, singular, right = np.linalg.svd(DATA.matrix().toarray(), full_matrices=False)
    return Embeddings((left[:, :6] * singular[:6]).astype(np.float32), np.ascontiguousarray(right[:6].T, np.float32))


FEATURES = features()


def world(timed: bool = True) -> tuple[Known, Interactions]:
    """What a model knows of, held-out parts as large as what is new afterwards; and that."""
    lot = np.random.default_rng(SEED).permutation(len(DATA))
    parts = np.array_split(lot, 4)
    pieces = [rows(DATA, part) for part in parts]
    if timed:
        pieces = [dated(piece, 10 * place, 10, place) for place, piece in enumerate(pieces)]
    ids = [pl.Series("id", [str(n) for n in range(count)]) for count in (DATA.n_users, DATA.n_items)]
    return Known.of(Split(*pieces[:3], *ids)), pieces[3]


def fresh(new: Interactions, known: Known) -> Fresh:
    ids = [pl.Series("id", [str(n) for n in range(count)]) for count in (new.n_users, new.n_items)]
    own = [pl.Series("id", [str(n) for n in range(count)]) for count in (DATA.n_users, DATA.n_items)]
    after = None if known.interactions.time is None else int(known.interactions.time[-1])
    return find_fresh(Observed(new, *ids, "test", len(new), []), *own, known.interactions.matrix(), after=after)


def run(known: Known, new: Fresh, **changes: object) -> Drift:
    model = SpectralModel(FEATURES, GraphConfig(user_neighbours=5, item_neighbours=5), SPECTRAL)
    return check_drift(known, new, model, DriftConfig(**changes))


def over(found: Drift) -> set[str]:
    return {measure.name for measure in found.measures if measure.over}


KNOWN, NEW = world()


def test_more_of_the_same_is_no_drift():
    found = run(KNOWN, fresh(NEW, KNOWN))
    assert not found.found
    assert found.judged
    assert found.headline() == "no drift"
    assert all(measure.value is not None for measure in found.measures), found
    assert not found.found


@pytest.mark.parametrize("timed", [True, False])
def test_the_same_interactions_give_nought(timed):
    known, _ = world(timed)
    held_out = known.held_out
    assert held_out is not None
    same = Fresh(
        known=held_out, pairs=len(held_out), unknown_user_pairs=0, unknown_item_pairs=0, unknown_users=0,
        unknown_items=0, passed_over=0, first=None, last=None,
    )  # fmt: skip
    values = {measure.name: measure.value for measure in run(known, same).measures}
    assert values.pop("volume") is None
    assert values == dict.fromkeys(values, 0.0)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**16))
def test_the_order_of_the_rows_does_not_matter(seed):
    mixed = rows(NEW, np.random.default_rng(seed).permutation(len(NEW)))
    assert run(KNOWN, fresh(mixed, KNOWN)).model_dump() == run(KNOWN, fresh(NEW, KNOWN)).model_dump()


def test_repeated_rows_and_old_ones_are_no_news():
    known = KNOWN.interactions
    old = replace(
        NEW,
        user=np.concatenate([NEW.user, known.user]),
        item=np.concatenate([NEW.item, known.item]),
        time=np.concatenate([NEW.time, known.time]),
    )
    with_old = run(KNOWN, fresh(old, KNOWN)).model_dump()
    without = run(KNOWN, fresh(NEW, KNOWN)).model_dump()
    assert with_old["new"].pop("passed_over") == without["new"].pop("passed_over") + len(known)
    assert with_old == without


def test_taste_that_is_shuffled_shows_in_the_spectrum_alone():
    new = fresh(NEW, KNOWN)
    shuffled = replace(new.known, item=np.random.default_rng(0).permutation(new.known.item))
    found = run(KNOWN, replace(new, known=shuffled))
    assert over(found) == {"spectrum of the users", "spectrum of the items"}
    assert found.measures[-1].limit == 0.5
    assert found.headline() == "drift in spectrum of the users, spectrum of the items"


def test_what_was_popular_and_is_not_any_more_shows_in_psi_and_ks():
    new = fresh(NEW, KNOWN)
    counts = np.bincount(KNOWN.interactions.item, minlength=DATA.n_items)
    turned = np.empty(DATA.n_items, np.int32)
    turned[np.argsort(counts, kind="stable")] = np.argsort(-counts, kind="stable")
    found = run(KNOWN, replace(new, known=replace(new.known, item=turned[new.known.item])))
    assert {"item popularity (PSI)", "item popularity (KS)"} <= over(found)


def test_strangers_are_counted():
    there = len(NEW) // 2
    user = NEW.user.copy()
    user[:there] += DATA.n_users
    found = run(KNOWN, fresh(replace(NEW, user=user, n_users=2 * DATA.n_users), KNOWN))
    assert "unknown users" in over(found)
    share = next(measure.value for measure in found.measures if measure.name == "unknown users")
    assert share == pytest.approx(0.5, abs=0.03)
    assert "unknown items" not in over(found)


@pytest.mark.parametrize(("days", "ratio"), [(10, 1.0), (40, 0.25), (3, 10 / 3)])
def test_volume_is_a_rate_of_whole_days(days, ratio):
    found = run(KNOWN, fresh(dated(NEW, 30, days, 5), KNOWN))
    measure = found.measures[0]
    assert measure.name == "volume"
    assert measure.value == pytest.approx(ratio, rel=0.15)
    assert measure.over == (not 0.5 <= ratio <= 2.0)


def test_volume_without_dates_or_without_a_whole_day_is_not_judged():
    known, new = world(timed=False)
    assert run(known, fresh(new, known)).measures[0].value is None
    assert run(KNOWN, fresh(dated(NEW, 30, 1, 5), KNOWN)).measures[0].value is None
    steps = replace(KNOWN.interactions, time=KNOWN.interactions.time // DAY)
    small = Known(steps, KNOWN.held_out)
    measure = run(small, fresh(replace(NEW, time=NEW.time // DAY), small)).measures[0]
    assert measure.value is None
    assert "no dates" in measure.words


def test_too_few_are_not_judged():
    few = dated(rows(NEW, np.arange(100)), 30, 1)
    found = run(KNOWN, fresh(few, KNOWN))
    assert not found.judged
    assert not found.found
    assert found.headline() == "not judged: only 100 new interactions"
    assert run(KNOWN, fresh(few, KNOWN), min_interactions=50).judged


def test_a_source_that_runs_dry_is_drift_in_volume_though_there_is_little_to_judge():
    found = run(KNOWN, fresh(rows(NEW, np.arange(100)), KNOWN))
    assert over(found) == {"volume"}
    assert [measure.name for measure in found.measures if measure.value is not None] == ["volume"]


def test_without_the_held_out_parts_the_spectrum_is_not_judged():
    known = Known.of_seen(KNOWN.interactions.matrix())
    found = run(known, fresh(NEW, known))
    assert [measure.value for measure in found.measures[-2:]] == [None, None]
    assert "store" in found.measures[-1].words
    assert found.measures[3].value is not None
