"""A recommender: asked by own ids, kept in a folder, and proved before it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.serve import Recommender
from freqd.serve.batch import write_recommendations


def recommender(n_users: int = 30, n_items: int = 50, seed: int = 0) -> Recommender:
    rng = np.random.default_rng(seed)
    features = Embeddings(
        rng.standard_normal((n_users, 4)).astype(np.float32), rng.standard_normal((n_items, 4)).astype(np.float32)
    )
    features.users[2] = 0  # a user of whom nothing is known
    return Recommender(
        features,
        pl.Series([f"u{i}" for i in range(n_users)]),
        pl.Series([f"i{i}" for i in range(n_items)]),
        sparse.csr_array((rng.random((n_users, n_items)) < 0.2).astype(np.float32)),
    )


RECOMMENDER = recommender()


def test_a_known_user_is_answered_from_the_features_without_what_was_seen() -> None:
    scores = RECOMMENDER.features.items @ RECOMMENDER.features.users[5]
    seen = set(RECOMMENDER.seen[[5], :].toarray()[0].nonzero()[0])
    expected = [f"i{i}" for i in sorted(set(range(50)) - seen, key=lambda i: -scores[i])[:7]]
    answer = RECOMMENDER.ask("u5", k=7)
    assert (answer.items, answer.source, answer.unknown_items) == (expected, "model", [])
    everything = RECOMMENDER.ask("u5", k=50, exclude_seen=False)
    assert len(everything.items) == 50
    np.testing.assert_allclose(everything.scores, sorted(scores, reverse=True), rtol=1e-5)


def test_who_is_not_known_is_folded_in_from_a_history_or_gets_what_is_popular() -> None:
    folded = RECOMMENDER.ask("stranger", history=["i3", "i4", "gone"], k=5)
    assert folded.source == "fold-in"
    assert folded.unknown_items == ["gone"]
    expected = RECOMMENDER.index.recommend_history([3, 4], 5)
    assert folded.items == [f"i{i}" for i in expected.items]
    for question in ({}, {"history": []}, {"history": ["gone"]}):
        popular = RECOMMENDER.ask("stranger", k=3, **question)
        assert popular.source == "popularity"
        assert popular.items == [f"i{i}" for i in RECOMMENDER.index.popular(3).items]


def test_a_known_user_without_features_is_folded_in_too() -> None:
    assert RECOMMENDER.ask("u2", history=["i1"]).source == "fold-in"
    popular = RECOMMENDER.ask("u2", k=50)
    assert popular.source == "popularity"
    met = {f"i{i}" for i in RECOMMENDER.seen[[2], :].toarray()[0].nonzero()[0]}
    assert met
    assert not met & set(popular.items)
    assert set(RECOMMENDER.ask("u2", k=50, exclude_seen=False).items) > met


def test_a_model_is_placed_by_id_and_ranks_there_as_it_is_served() -> None:
    seen = sparse.csr_array(np.array([[1, 1], [0, 1], [0, 0]], np.float32))
    features = Embeddings(np.array([[1, 2], [3, 4], [0, 0]], np.float32), np.array([[5, 6], [7, 8]], np.float32))
    model = Recommender(features, pl.Series(["a", "b", "nothing"]), pl.Series(["y", "x"]), seen)
    placed = model.placed(pl.Series(["b", "new", "a", "nothing"]), pl.Series(["x", "new", "y"]))
    np.testing.assert_array_equal(placed.users, [[3, 4, 0, 1], [0, 0, 1, 1], [1, 2, 0, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(placed.items[:, :3], [[7, 8, 2], [0, 0, 0], [5, 6, 1]])
    assert placed.items[:, 3].tolist() == [0.0, np.float32(-1e9), 0.0]


def test_placed_lists_are_those_that_are_served() -> None:
    users, items = pl.Series(["u9", "somebody", "u2", "u0"]), pl.Series(["gone", *reversed(RECOMMENDER.item_ids[5:])])
    placed = RECOMMENDER.placed(users, items)
    for user, scores in zip(users, placed.users @ placed.items.T, strict=True):
        served = [item for item in RECOMMENDER.ask(user, k=50, exclude_seen=False).items if item in set(items)]
        own = sorted(range(len(items)), key=lambda row: -scores[row])
        assert [items[row] for row in own][-1] == "gone"
        if user in ("somebody", "u2"):  # what is equally popular stands in the order of the rows
            popular = dict(zip(RECOMMENDER.item_ids, RECOMMENDER.index.popularity.tolist(), strict=True))
            assert [popular[items[row]] for row in own[:-1]] == [popular[item] for item in served]
        else:
            assert [items[row] for row in own[:-1]] == served


def test_a_history_does_not_replace_what_is_known() -> None:
    assert RECOMMENDER.ask("u5", history=["i1"], k=4) == RECOMMENDER.ask("u5", k=4)


@pytest.mark.parametrize("question", [{"user": "u5"}, {"history": ["i9"]}, {}])
def test_allow_and_deny(question: dict[str, object]) -> None:
    allow = [f"i{i}" for i in range(0, 40, 2)] + ["gone"]
    answer = RECOMMENDER.ask(**question, k=50, exclude_seen=False, allow=allow, deny=["i4", "i5"])  # type: ignore[arg-type]
    assert set(answer.items) == {f"i{i}" for i in range(0, 40, 2)} - {"i4"}
    assert answer.unknown_items == ["gone"]
    assert RECOMMENDER.ask(**question, allow=[]).items == []  # type: ignore[arg-type]


def test_what_cannot_be_asked() -> None:
    for ask in (
        lambda: RECOMMENDER.ask("u1", k=0),
        lambda: RECOMMENDER.similar("i1", k=0),
        lambda: RECOMMENDER.recommend(["u1"], k=0),
    ):
        with pytest.raises(InputError, match="k must be at least 1"):
            ask()
    with pytest.raises(InputError, match="'gone'"):
        RECOMMENDER.similar("gone")


def test_similar_leaves_out_the_item_itself() -> None:
    answer = RECOMMENDER.similar("i7", k=5)
    assert "i7" not in answer.items
    assert answer.scores == sorted(answer.scores, reverse=True)


def test_a_written_recommender_answers_the_same(tmp_path: Path) -> None:
    RECOMMENDER.write(tmp_path)
    again = Recommender.read(tmp_path)
    for user in ("u0", "u2", "stranger"):
        one, other = RECOMMENDER.ask(user, k=6), again.ask(user, k=6)
        assert (one.items, one.source) == (other.items, other.source)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_a_frame_of_recommendations() -> None:
    frame = RECOMMENDER.recommend(["u1", "stranger"], k=3)
    assert frame.columns == list(Recommender.columns)
    assert frame["rank"].to_list() == [1, 2, 3] * 2
    assert frame["source"].to_list() == ["model"] * 3 + ["popularity"] * 3
    assert RECOMMENDER.recommend([]).columns == list(Recommender.columns)


def _holed(table: Embeddings) -> Embeddings:
    items = table.items.copy()
    items[3, 1] = np.nan
    return Embeddings(table.users, items)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: replace(b, user_ids=b.user_ids[:-1]), "29 user and 50 item ids"),
        (lambda b: replace(b, item_ids=pl.Series(["i"] * 50)), "item ids are not unique"),
        (lambda b: replace(b, seen=b.seen[:, :40]), "seen items of shape"),
        (lambda b: replace(b, features=_holed(b.features)), "item features are not all finite"),
        (lambda b: replace(b, features=Embeddings(b.features.users[:0], b.features.items)), "0 users"),
        (
            lambda b: replace(b, features=Embeddings(b.features.users * 1e30, b.features.items * 1e30)),
            "trial question",
        ),
    ],
)
def test_a_broken_recommender_is_found_out(spoil: Callable[[Recommender], Recommender], message: str) -> None:
    RECOMMENDER.check()
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        spoil(RECOMMENDER).check()


def test_a_tiny_recommender_is_whole() -> None:
    recommender(n_users=3, n_items=4).check()


# -- the batch file -------------------------------------------------------------------------------------------------


@pytest.fixture
def seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many users a row group."""
    monkeypatch.setattr("freqd.serve.batch.CHUNK", 7)


@pytest.mark.usefixtures("seven")
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_batch_file_equals_the_answers_user_by_user(tmp_path: Path, exclude_seen: bool) -> None:
    target = tmp_path / "deep" / "all.parquet"
    seen: list[float] = []
    rows = write_recommendations(
        RECOMMENDER, target, k=45, exclude_seen=exclude_seen, progress=lambda done, _: seen.append(done)
    )
    found = pl.read_parquet(target)
    expected = RECOMMENDER.recommend(RECOMMENDER.user_ids.to_list(), k=45, exclude_seen=exclude_seen)
    assert rows == len(found)
    assert found.drop("score").equals(expected.drop("score"))
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4, atol=1e-5)
    import pyarrow.parquet as pq

    assert pq.ParquetFile(target).num_row_groups == len(seen) == 5
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.usefixtures("seven")
def test_a_batch_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "all.parquet"
    write_recommendations(RECOMMENDER, target, k=2)
    before = target.read_bytes()

    def stop(done: float, _: str) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recommendations(RECOMMENDER, target, k=3, progress=stop)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(InputError, match="k must be"):
        write_recommendations(RECOMMENDER, target, k=0)
    with pytest.raises(InputError, match="cannot write below"):
        write_recommendations(RECOMMENDER, target / "below.parquet")
    with pytest.raises(InputError, match="is a folder"):
        write_recommendations(RECOMMENDER, tmp_path)


def test_everything_that_a_user_has_met_counts_as_seen() -> None:
    """Of all three parts: a shop does not recommend what was bought last week."""
    parts = [
        Interactions(np.array([0, 1], np.int32), np.array(items, np.int32), 2, 6) for items in ([0, 1], [2, 3], [4, 5])
    ]
    split = Split(*parts, pl.Series(["a", "b"]), pl.Series(list("uvwxyz")))
    features = Embeddings(np.ones((2, 2), np.float32), np.ones((6, 2), np.float32))
    recommender = Recommender.of(features, split)
    assert sorted(recommender.ask("a", k=6).items) == ["v", "x", "z"]
    assert sorted(recommender.ask("b", k=6).items) == ["u", "w", "y"]
