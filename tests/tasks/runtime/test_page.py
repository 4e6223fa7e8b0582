"""Where a run is found in a browser."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tasks.mlops import tracking


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/#/experiments/7/runs/abc"),
        ("https://ann:secret@mlflow.example.org", "https://mlflow.example.org/#/experiments/7/runs/abc"),
        ("sqlite:////srv/freqd/mlflow/mlflow.db", None),
    ],
)
def test_a_run_of_a_served_mlflow_has_a_page(address: str, page: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "client", lambda: SimpleNamespace(tracking_uri=address))
    assert tracking.page("7", "abc") == page
