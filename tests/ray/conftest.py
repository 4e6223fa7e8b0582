"""A head without CPUs and two nodes of one CPU each, as processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

MEMORY = 150 * 2**20


@pytest.fixture(scope="session")
def one_cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def cluster(one_cluster: Any) -> Iterator[Any]:
    """The cluster with two nodes for work; a test may take one away."""
    import ray

    while len(one_cluster.worker_nodes) < 2:
        one_cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    one_cluster.wait_for_nodes()
    yield one_cluster
    ray.shutdown()


@pytest.fixture
def on_cluster(cluster: Any) -> tuple[str, str]:
    """The settings of a run on it."""
    return ("engine.kind=ray", f"engine.address={cluster.address}")
