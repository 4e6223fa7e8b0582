"""Blocks inside of a stage, as Ray tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freqd.config import EvaluateConfig, GraphConfig
from freqd.evaluate import evaluate, evaluation
from freqd.graph import build_graphs
from freqd.storage.store import Facts, Store
from freqd.teachers.als import AlsHyperparameters, als_sweeps
from tests.test_engine import made_model, made_split, made_table

pytestmark = [pytest.mark.ray, pytest.mark.timeout(280)]


@pytest.fixture
def blocks(cluster: Any) -> Iterator[Any]:
    import ray

    from tasks.runtime.ray_engine import RayBlocks

    ray.init(address=cluster.address, log_to_driver=False)
    yield RayBlocks(retries=3)
    ray.shutdown()


def test_they_are_equal(blocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    split, table = made_split(), made_table()
    model = made_model(split, table)
    monkeypatch.setattr(evaluation, "_CHUNK", 128)
    config = EvaluateConfig()
    for scorer in (table, model):
        here, there = evaluate(scorer, split, config), evaluate(scorer, split, config, engine=blocks)
        assert here.metrics == there.metrics
        np.testing.assert_array_equal(here.per_user["ndcg_at_10"], there.per_user["ndcg_at_10"])
    graphs = [build_graphs(split.train, GraphConfig(), engine=engine) for engine in (blocks, blocks)]
    alone = build_graphs(split.train, GraphConfig())
    for found in graphs:
        np.testing.assert_array_equal(found.user.adjacency.data, alone.user.adjacency.data)
        np.testing.assert_array_equal(found.item.adjacency.indices, alone.item.adjacency.indices)
    train, point = split.train.matrix(), AlsHyperparameters(8, 5.0, 10.0)
    one, other = als_sweeps(train, None, point, 3, seed=1), als_sweeps(train, None, point, 3, seed=1, engine=blocks)
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.users, other.users)
    np.testing.assert_array_equal(one.items, other.items)


def slowly(number: int, size: int) -> tuple[int, str]:
    import ray

    time.sleep(0.3)
    return number * size, ray.get_runtime_context().get_node_id()


def test_a_node_is_lost(blocks: Any, cluster: Any) -> None:
    found = []
    for each in blocks.map(slowly, range(24), 3):
        found.append(each)
        if len({node for _, node in found}) == 2 and len(cluster.worker_nodes) == 2:  # both are at work
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    assert [value for value, _ in found] == [3 * n for n in range(24)]
    assert len(cluster.worker_nodes) == 1


def save(number: int, root: str) -> str:
    store = Store(Path(root))
    return store.save(Facts({"same": [0.5] * 10_000})).digest


def test_the_same_artifact_is_saved_by_many(blocks: Any, tmp_path: Path) -> None:
    (digest,) = set(blocks.map(save, range(20), str(tmp_path)))
    store = Store(tmp_path)
    store.verify(store.ref("facts", digest))
    assert [folder.name for folder in (tmp_path / "artifacts" / "facts").iterdir()] == [digest]


def fail(number: int) -> None:
    raise ValueError(f"block {number}")


def test_an_error_of_a_block_is_its_own(blocks: Any) -> None:
    with pytest.raises(ValueError, match="block 0"):
        list(blocks.map(fail, range(3)))


def test_a_student_in_parts(blocks: Any, cluster: Any, tmp_path: Path) -> None:
    from tests.models.test_shards import assert_equal, trained

    assert_equal(trained(3), trained(3, blocks))


def test_a_part_is_lost_with_its_node(
    blocks: Any, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freqd.training import checkpoint as checkpointing
    from tests.models.test_shards import assert_equal, trained

    monkeypatch.setattr(checkpointing, "CHECKPOINT_SHARE", 1e9)
    removed: list[Any] = []

    def remove(done: float, text: str) -> None:
        if done > 0.5 and not removed:
            removed.append(cluster.list_all_nodes()[-1])
            cluster.remove_node(removed[0], allow_graceful=False)

    found = trained(2, blocks, checkpoint=tmp_path, progress=remove)
    assert removed
    assert found.info["resumed_from"]
    assert_equal(trained(2), found)


def test_blocks_that_are_done_are_told(cluster: Any) -> None:
    import ray

    from tasks.runtime.ray_engine import RayBlocks

    ray.init(address=cluster.address, log_to_driver=False)
    told: list[tuple[int, int]] = []
    found = list(RayBlocks(2, lambda done, count: told.append((done, count))).map(twice, range(7)))
    assert found == [0, 2, 4, 6, 8, 10, 12]
    assert told == [(number, 7) for number in range(1, 8)]


def twice(number: int) -> int:
    return 2 * number
