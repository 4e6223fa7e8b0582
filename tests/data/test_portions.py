"""Data that are read in portions give the same split, warnings and errors as data that are read at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freqd.config import DataConfig
from freqd.data import Split, cleaning
from freqd.data.ids import IdRegistry
from freqd.errors import InputError

Run = Callable[..., Split]
START = 1_600_000_000
N = 900
IDS = {
    "dense": lambda n: n,
    "negative": lambda n: n - 40,
    "wide": lambda n: n * 1_000_000_007,
    "text": lambda n: np.array([f"u{k}" for k in n]),
    "float": lambda n: n.astype(np.float64),
    "blanks": lambda n: np.array([f" {k}" if place % 3 else f"{k}.0" for place, k in enumerate(n)]),
    "footer": lambda n: np.array([f"{k}" if place else "total" for place, k in enumerate(n)]),
    "missing": lambda n: np.array([f"x{k}" if place % 50 else "NULL" for place, k in enumerate(n)]),
}
TIMES = {
    "none": lambda t: None,
    "seconds": lambda t: START + 3600 * t,
    "milliseconds": lambda t: (START + 3600 * t) * 1000,
    "steps": lambda t: t,
    "dates": lambda t: pl.Series(START + 3600 * t).cast(pl.Int64) * 1_000_000,
    "odd": lambda t: np.where(t % 37 == 5, 0, START + 3600 * t),
    "texts": lambda t: np.array([f"2021-{1 + k // 28 % 12:02}-{1 + k % 28:02}" if k % 41 else "soon" for k in t]),
    "beyond": lambda t: 4_000_000_000 + 3600 * t,
}


def frame(seed: int, user: str, item: str, time: str, *, weights: bool) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    users, items, times = rng.integers(0, 40, N), rng.integers(0, 30, N), rng.permutation(N)
    found = pl.DataFrame({"user": IDS[user](users), "item": IDS[item](items)})
    if (of_rows := TIMES[time](times)) is not None:
        found = found.with_columns(timestamp=pl.Series(of_rows))
    if time == "dates":
        found = found.with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    return found.with_columns(rating=pl.Series(rng.integers(-1, 6, N))) if weights else found


def outcome(run: Run, config: DataConfig, folder: Path, memory: int | None) -> Any:
    """What was written, or the error."""
    folder.mkdir()
    gigabytes = None if memory is None else memory / (1 << 30)
    registry = IdRegistry(folder / "ids")
    try:
        split = run(config.model_copy(update={"memory_gb": gigabytes}), registry=registry)
    except InputError as error:
        return str(error)
    split.write(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@given(
    seed=st.integers(0, 3),
    ids=st.tuples(st.sampled_from(sorted(IDS)), st.sampled_from(sorted(IDS))),
    time=st.sampled_from(sorted(TIMES)),
    how=st.sampled_from(["time", "random", "given"]),
    form=st.sampled_from(["csv", "parquet"]),
    files=st.integers(1, 3),
    weights=st.booleans(),
    portion=st.integers(60, 500),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_portions_change_nothing(
    run: Run,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    ids: tuple[str, str],
    time: str,
    how: str,
    form: str,
    files: int,
    weights: bool,
    portion: int,
) -> None:
    root = tmp_path_factory.mktemp("portions")
    table = frame(seed, *ids, time, weights=weights)
    parts = [table[k::3] if how == "given" else table[k::files] for k in range(3 if how == "given" else files)]
    names = [str(root / f"{k}.{form}") for k in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        part.write_csv(name) if form == "csv" else part.write_parquet(name)
    settings: dict[str, Any] = {"split": how, "min_weight": 2 if weights and seed % 2 else None}
    settings |= {"max_time": "2100-01-01"} if time == "beyond" else {}
    settings |= dict(zip(("train", "valid", "test"), names, strict=True)) if how == "given" else {"source": names}
    config = DataConfig(**settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleaning, "LEAST_ROWS", portion)
        whole = outcome(run, config, root / "whole", None)
        assert outcome(run, config, root / "cut", 14 * N) == whole


def test_two_units_of_time_in_two_portions(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = frame(0, "dense", "dense", "seconds", weights=False)
    late = pl.when(pl.int_range(pl.len()) < 600).then(pl.col("timestamp")).otherwise(pl.col("timestamp") * 1000)
    table.with_columns(late).write_parquet(tmp_path / "x.parquet")
    monkeypatch.setattr(cleaning, "LEAST_ROWS", 300)
    config = DataConfig(source=(str(tmp_path / "x.parquet"),), memory_gb=14 * N / (1 << 30))
    with pytest.raises(InputError, match=r"holds epoch seconds up to row 600 and epoch milliseconds after it"):
        run(config)


def test_rows_are_numbered_as_in_their_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = frame(0, "dense", "dense", "seconds", weights=False)
    odd = pl.when(pl.int_range(pl.len()) == 700).then(0).otherwise(pl.col("timestamp")).alias("timestamp")
    weight = pl.when(pl.int_range(pl.len()) == 500).then(-1).otherwise(1)
    table.with_columns(odd, rating=weight).write_parquet(tmp_path / "x.parquet")
    monkeypatch.setattr(cleaning, "LEAST_ROWS", 300)
    split = run(DataConfig(source=(str(tmp_path / "x.parquet"),), memory_gb=14 * N / (1 << 30)))
    assert any("'0' in row 701" in row.reason for row in split.info.dropped)
    assert any("the first of them row 501" in warning for warning in split.info.warnings)


def test_memory_that_does_not_even_hold_the_pairs(run: Run, tmp_path: Path) -> None:
    frame(0, "dense", "dense", "none", weights=False).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"900 rows take 0.0 GiB of memory") as caught:
        run(DataConfig(source=(str(tmp_path / "x.parquet"),), memory_gb=13 * N / (1 << 30)))
    assert "data.memory_gb" in caught.value.remedy
