"""What blocks that are done elsewhere give is what one machine gives, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from freqd.config import EvaluateConfig, GraphConfig, ObjectiveConfig
from freqd.data.interactions import Interactions, Split
from freqd.distill import build_objectives
from freqd.distill.context import DistillContext
from freqd.embeddings import Embeddings
from freqd.evaluate import evaluate, evaluation, ranking_blocks
from freqd.graph import build_graphs
from freqd.scorer import ItemScorer, SumScorer
from freqd.serve import batch
from freqd.serve.batch import write_recommendations
from freqd.serve.recommender import Recommender
from freqd.spectral.filters import Filter, SideFilters
from freqd.teachers.als import AlsHyperparameters, als_sweeps
from freqd.teachers.item_weights import graph_filter_weights
from tests.elsewhere import Elsewhere

N_USERS, N_ITEMS = 700, 300


def made_split() -> Split:
    rng = np.random.default_rng(4)
    drawn = np.unique(rng.integers(N_USERS, size=9000) * N_ITEMS + rng.zipf(1.3, size=9000) % N_ITEMS)
    part = rng.integers(5, size=len(drawn))
    users, items = (drawn // N_ITEMS).astype(np.int32), (drawn % N_ITEMS).astype(np.int32)
    parts = (Interactions(users[mask], items[mask], N_USERS, N_ITEMS) for mask in (part < 3, part == 3, part == 4))
    return Split(
        *parts, *(pl.Series([f"{side}{n}" for n in range(count)]) for side, count in (("u", N_USERS), ("i", N_ITEMS)))
    )


def made_table() -> Embeddings:
    rng = np.random.default_rng(5)
    return Embeddings(*(rng.standard_normal((n, 12)).astype(np.float32) for n in (N_USERS, N_ITEMS)))


def made_model(split: Split, table: Embeddings) -> SumScorer:
    """One that is no table."""
    train = split.train.matrix()
    weights = graph_filter_weights(train, 0.5, 0.4, 40)
    return SumScorer((table, ItemScorer(train, weights)), (0.4, 0.6), (2.0, 0.1))


@pytest.fixture
def split() -> Split:
    return made_split()


@pytest.fixture
def table() -> Embeddings:
    return made_table()


@pytest.fixture
def model(split: Split, table: Embeddings) -> SumScorer:
    return made_model(split, table)


@pytest.mark.parametrize("protocol", ["standard", "kd-paper"])
def test_evaluation(
    split: Split, table: Embeddings, model: SumScorer, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_CHUNK", 64)
    config, engine = EvaluateConfig(protocol=protocol), Elsewhere()
    for scorer in (table, model):
        here, there = evaluate(scorer, split, config), evaluate(scorer, split, config, engine=engine)
        assert here.metrics == there.metrics
        for name, values in here.per_user.items():
            np.testing.assert_array_equal(values, there.per_user[name])
        np.testing.assert_array_equal(here.hits, there.hits)
    assert engine.blocks >= 2 * 6


@pytest.mark.parametrize("kind", ["cooccurrence", "bipartite"])
def test_graphs(split: Split, kind: str) -> None:
    config, engine = GraphConfig(kind=kind), Elsewhere()
    here, there = build_graphs(split.train, config), build_graphs(split.train, config, engine=engine)
    for side in ("user", "item"):
        one, other = (getattr(graphs, side).adjacency for graphs in (here, there))
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert engine.blocks > 20


@pytest.mark.parametrize("begun", [False, True])
def test_als(split: Split, begun: bool) -> None:
    train, point = split.train.matrix(), AlsHyperparameters(8, 5.0, 10.0)
    start = als_sweeps(train, None, point, 1, seed=3) if begun else None
    copy = Embeddings(start.users.copy(), start.items.copy()) if start else None
    engine = Elsewhere()
    here = als_sweeps(train, start, point, 3, seed=3)
    there = als_sweeps(train, copy, point, 3, seed=3, engine=engine)
    assert here is not None
    assert there is not None
    np.testing.assert_array_equal(here.users, there.users)
    np.testing.assert_array_equal(here.items, there.items)
    assert engine.blocks > 3 * 2 * 10
    assert engine.shared == 2, "the interactions travel once a side"


def test_als_that_diverges_says_so(split: Split) -> None:
    train, point = split.train.matrix(), AlsHyperparameters(8, 0.0, 1e30)
    with np.errstate(all="ignore"):
        assert als_sweeps(train, None, point, 2, seed=3, engine=Elsewhere()) is None


def test_ranking_terms(split: Split, table: Embeddings, model: SumScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_blocks, "BLOCK", 50)
    graphs = build_graphs(split.train, GraphConfig())
    same = SideFilters(user=Filter(form="identity"), item=Filter(form="identity"))
    context = DistillContext(
        teacher=table, raw_teacher=model, ranking_teacher=model, ranking_table=table, graphs=graphs, feature_filters=same,
        train=split.train.matrix(), dim=4, seed=0,
    )  # fmt: skip
    engine = Elsewhere()
    terms = (ObjectiveConfig(name="rce", options={"share": 0.5}),)
    here, there = (build_objectives(terms, each)[0] for each in (context, replace(context, engine=engine)))
    for epoch in range(1, 5):
        rng = np.random.default_rng(epoch)
        student = Embeddings(*(rng.standard_normal((n, 4)).astype(np.float32) for n in (N_USERS, N_ITEMS)))
        for term in (here, there):
            term.begin_epoch(epoch, student, np.random.default_rng(epoch))
        assert torch.equal(here.lists, there.lists)
        torch.testing.assert_close(
            here.logits, there.logits, rtol=1e-6, atol=1e-6
        )  # BLAS: blocks of another size than here
    assert engine.blocks == 6 * 7, "two turns of 350 users: the teacher's lists once, the student's in each epoch"


def test_recommendations(split: Split, table: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 100)
    recommender, engine = Recommender.of(table, split), Elsewhere()
    write_recommendations(recommender, tmp_path / "here.parquet", k=7)
    write_recommendations(recommender, tmp_path / "there.parquet", k=7, engine=engine)
    assert pl.read_parquet(tmp_path / "here.parquet").equals(pl.read_parquet(tmp_path / "there.parquet"))
    assert engine.blocks == 7
