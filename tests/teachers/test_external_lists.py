"""Lists from outside: read, checked, matched by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import DistillConfig, ObjectiveConfig, TeacherConfig
from freqd.data.interactions import Interactions, Split
from freqd.distill import check_objectives
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.evaluate import top_k
from freqd.scorer import ListScorer
from freqd.teachers.external_lists import LONGEST, check_lists, lists_digest, load_lists
from freqd.teachers.training import source_digest, train_teacher
from freqd.training.environment import TrainingEnvironment


def part(*pairs: tuple[int, int]) -> Interactions:
    users, items = np.array(pairs, np.int32).T
    return Interactions(users.copy(), items.copy(), 3, 5)


SPLIT = Split(
    part((0, 0), (1, 1), (2, 2)),
    part((0, 1), (1, 0)),
    part((0, 2), (1, 2)),
    pl.Series(["ann", "bob", "eve"]),
    pl.Series(["10", "20", "30", "40", "50"]),
)
RANKS = pl.DataFrame(
    {
        "user": ["bob", "ann", "ann", "ann", "bob", "zoe"],
        "item": [30, 40, 10, 20, 77, 10],
        "rank": [4, 3, 1, 2, 1, 1],
    }
)


def write(folder: Path, frame: pl.DataFrame, ending: str = "parquet") -> str:
    path = folder / f"lists.{ending}"
    frame.write_parquet(path) if ending == "parquet" else frame.write_csv(path)
    return str(path)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_ranks_become_lists_in_the_order_of_the_splits_ids(tmp_path: Path, ending: str) -> None:
    """Ann has met item 10 in train; bob's item 77 and zoe are not in the data; eve has no list."""
    found = load_lists(write(tmp_path, RANKS, ending), SPLIT)
    assert found.scorer.lists.tolist() == [[1, 3], [2, -1], [-1, -1]]
    np.testing.assert_allclose(found.scorer.scores[:2, 0], np.log(3))
    np.testing.assert_allclose(found.scorer.scores[0, 1], np.log(3 / 2))
    told = " ".join(found.notes)
    assert "2 of 3 users have a list of items that are new to them; the other 1 learn nothing" in told
    assert "1 users of the lists (1 rows) are not in the data" in told
    assert "1 items of the lists (1 rows) are not in the data" in told
    assert "1 listed items were left out" in told
    best, _ = top_k(found.scorer, SPLIT.train.matrix(), 3)
    assert best.tolist() == [[1, 3, -1], [2, -1, -1], [-1, -1, -1]]


def test_scores_are_kept_and_the_best_comes_first(tmp_path: Path) -> None:
    scored = pl.DataFrame({"user_id": ["eve"] * 3, "item_id": ["20", "40", "10"], "score": [-3.0, 7.5, 0.25]})
    found = load_lists(write(tmp_path, scored), SPLIT)
    assert found.scorer.lists[2].tolist() == [3, 0, 1]
    assert found.scorer.scores[2].tolist() == [7.5, 0.25, -3.0]
    np.testing.assert_allclose(found.places[2], np.log(4 / np.arange(1, 4)))


def test_ids_are_cleaned_as_those_of_the_interactions(tmp_path: Path) -> None:
    found = load_lists(
        write(tmp_path, pl.DataFrame({"user": [" ann", "bob"], "item": ["40.0", "30.0"], "rank": ["1", "1"]}), "csv"),
        SPLIT,
    )
    assert found.scorer.lists.tolist() == [[3], [2], [-1]]


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    items = [str(item) for item in range(LONGEST + 50)]
    ids = pl.Series(items)
    whole = Split(
        *(Interactions(p.user, p.item, 3, len(items)) for p in (SPLIT.train, SPLIT.valid, SPLIT.test)),
        SPLIT.user_ids,
        ids,
    )
    frame = pl.DataFrame({"user": ["eve"] * len(items), "item": items, "rank": range(len(items))})
    assert load_lists(write(tmp_path, frame), whole).scorer.lists.shape == (3, LONGEST)


def test_the_table_comes_near_the_places(tmp_path: Path) -> None:
    found = load_lists(write(tmp_path, RANKS), SPLIT)
    table = found.table(64, seed=0)
    wanted = np.zeros((3, 5), np.float32)
    wanted[0, [1, 3]], wanted[1, 2] = [np.log(3), np.log(1.5)], np.log(3)
    np.testing.assert_allclose(table.users @ table.items.T, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("frame", "ending", "problem"),
    [
        (RANKS.drop("rank"), "parquet", "neither a column 'score' nor 'rank'"),
        (RANKS.with_columns(score=1.0), "parquet", "both a column 'score' and a column 'rank'"),
        (RANKS.drop("item"), "parquet", "no column 'item'"),
        (RANKS.head(0), "parquet", "have no rows"),
        (
            RANKS.with_columns(user=pl.when(pl.col("rank") == 2).then(None).otherwise("user")),
            "parquet",
            "'user' has no id in row 4",
        ),
        (RANKS.with_columns(item=pl.col("item") / 7), "parquet", "'item' holds ids of type Float64"),
        (
            RANKS.with_columns(rank=pl.lit("best")),
            "csv",
            "'rank', row 1 holds 'best' where a finite number is needed .6 of 6",
        ),
        (
            RANKS.rename({"rank": "score"}).with_columns(score=pl.lit(float("inf"))),
            "parquet",
            "'score', row 1 holds inf",
        ),
        (RANKS.with_columns(rank=[[1]] * 6), "parquet", "'rank' holds List"),
        (pl.concat([RANKS, RANKS[2:3]]), "parquet", "an item twice for one user, row 3"),
    ],
)
def test_what_is_wrong_is_named_before_the_data_are_read(tmp_path: Path, frame, ending: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as error:
        check_lists(write(tmp_path, frame, ending))
    assert "lists." in str(error.value)
    assert error.value.remedy


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        check_lists(tmp_path / "no.csv")
    (tmp_path / "lists.txt").write_text("user item")
    with pytest.raises(InputError, match=r"unknown ending '\.txt'"):
        check_lists(tmp_path / "lists.txt")
    (tmp_path / "lists.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read"):
        check_lists(tmp_path / "lists.parquet")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            RANKS.with_columns(user=pl.col("user") + "-7"),
            "'user': none of the ids is in the data .they look like 'aaa-0'",
        ),
        (RANKS.with_columns(item=pl.col("item") + 1), "'item': none of the ids is in the data .they look like '31'"),
        (RANKS.filter(item=10), "only items that their users have met"),
        (pl.DataFrame({"user": ["ann", "ann "], "item": ["20", "20.0"], "rank": [1, 2]}), "have ids that are one"),
    ],
)
def test_what_does_not_fit_the_data_is_named(tmp_path: Path, changed: pl.DataFrame, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_lists(write(tmp_path, changed), SPLIT)


def test_the_teacher_is_the_lists_with_a_table_beside_them(tmp_path: Path) -> None:
    config = TeacherConfig(kind="lists", lists=write(tmp_path, RANKS), factors=(2, 3))
    model = train_teacher(SPLIT, config, TrainingEnvironment(seed=0, device="cpu"))
    assert isinstance(model.scorer, ListScorer)
    assert model.features.dim == 3
    assert (model.info["kind"], model.info["factors"]) == ("lists", 3)
    assert "2 of 3 users have a list" in model.info["notes"][0]
    assert source_digest(config) == lists_digest(config.lists or "")
    model.write(tmp_path)
    assert isinstance(TrainedModel.read(tmp_path).scorer, ListScorer)


def test_kind_and_path_go_together() -> None:
    for wrong in ({"kind": "lists"}, {"lists": "lists.csv"}, {"kind": "features", "lists": "lists.csv"}):
        with pytest.raises(ValueError, match="go together"):
            TeacherConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["freqd", "fitnet", "de", "pckd", "htd"])
def test_objectives_that_learn_from_features_are_refused_before_anything_starts(name: str) -> None:
    lists = TeacherConfig(kind="lists", lists="lists.csv")
    terms = [ObjectiveConfig(name=name), ObjectiveConfig(name="rce")]
    with pytest.raises(InputError, match=f"'{name}' learns from the teacher's features, and lists have none") as error:
        check_objectives(terms, lists)
    assert "rce" in error.value.remedy
    assert check_objectives(terms, TeacherConfig())
    assert check_objectives([terms[0].model_copy(update={"weight": 0.0}), terms[1]], lists)


def test_the_default_objectives_learn_from_lists() -> None:
    assert check_objectives(DistillConfig().objectives, TeacherConfig(kind="lists", lists="lists.csv"))
