from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from freqd.config import DataConfig
from freqd.data import Places, Split, ingest


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Split]:
    """``ingest`` with a seed, no data folder and a cache of its own."""

    def call(config: DataConfig, **options: object) -> Split:
        settings: dict[str, object] = {"seed": 0, "places": Places(None, tmp_path / "cache"), **options}
        return ingest(config, **settings)  # type: ignore[arg-type]

    return call
