"""A working directory and a registered model of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.runtime.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def model() -> Iterator[str]:
    """A registered model with four versions, the third of other data, and no champion."""
    client, name = MlflowClient(), f"model-{uuid.uuid4().hex[:8]}"
    client.create_registered_model(name)
    experiment = client.create_experiment(name)
    for number in range(1, 5):
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "student_ndcg_at_10", 0.1 * number)
        client.log_metric(run.info.run_id, "other", 1.0)
        client.log_param(run.info.run_id, "distill.dim", 8 * number)
        client.log_param(run.info.run_id, "seed", 0)
        tags = {"freqd.ndcg_at_10": f"{0.1 * number:.6f}", "freqd.data_digest": "other" if number == 3 else "same"}
        client.create_model_version(name, f"file:///nowhere/{number}", run.info.run_id, tags=tags)
    yield name
    client.delete_registered_model(name)
