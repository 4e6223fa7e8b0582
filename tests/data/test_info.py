"""What is told of a split: the bytes on disk, and those of earlier versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from freqd.config import DataConfig
from freqd.data import Interactions, Split
from freqd.data.info import Counts, Dropped, SplitInfo

LOG = "".join(f"u{n % 7},i{n * n % 5},{1_704_067_200 + n}\n" for n in range(60))
TOLD = {
    "cold_test_items": 0.0,
    "columns": {"item": "item", "time": None, "user": "user", "weight": None},
    "density": 1.0,
    "dropped": [
        {
            "reason": "repeats a pair (counted once, at its earliest time)",
            "remedy": "none needed: a pair counts once",
            "rows": 39,
        }
    ],
    "guessed": ["user", "item"],
    "kept": {"interactions": 21, "items": 3, "users": 7},
    "parts": {"test": 2, "train": 17, "valid": 2},
    "rows_read": 60,
    "split": "random",
    "times": None,
    "users_without_test": 5,
}


@pytest.fixture
def split(run: Callable[..., Split], tmp_path: Path) -> Split:
    (tmp_path / "log.csv").write_text("user,item,noon\n" + LOG)
    settings = {"min_user_interactions": 1, "min_item_interactions": 1, "split": "random"}
    return run(DataConfig(source=(str(tmp_path / "log.csv"),), **settings))


def written(split: Split, folder: Path) -> Path:
    folder.mkdir()
    split.write(folder)
    return folder


def test_the_bytes_on_disk_are_those_of_earlier_versions(split: Split, tmp_path: Path) -> None:
    """They are in the digest of the artifact: another byte, and every model would be trained again."""
    folder = written(split, tmp_path / "split")
    text = (folder / "info.json").read_text()
    told = json.loads(text)
    assert text == json.dumps(told, sort_keys=True)
    assert {name: value for name, value in told.items() if name != "warnings"} == TOLD
    assert json.loads((folder / "source.json").read_text()) == {"name": "log", "source": [str(tmp_path / "log.csv")]}
    assert Split.read(folder).info == split.info


def test_a_record_of_an_earlier_version_is_read(split: Split, tmp_path: Path) -> None:
    folder = written(split, tmp_path / "split")
    earlier = {name: value for name, value in TOLD.items() if name != "times"} | {"name": "log", "source": ["log.csv"]}
    (folder / "source.json").unlink()
    (folder / "info.json").write_text(json.dumps(earlier))
    info = Split.read(folder).info
    assert (info.name, info.source, info.times) == ("log", ("log.csv",), None)
    assert info.kept == Counts(users=7, items=3, interactions=21)
    assert info.dropped == (Dropped(**TOLD["dropped"][0]),)  # type: ignore[index]


def test_nothing_said_is_nothing_written(tmp_path: Path) -> None:
    part = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), 1, 1)
    folder = written(Split(part, part, part, pl.Series(["u"]), pl.Series(["i"])), tmp_path / "split")
    assert (folder / "info.json").read_text() == "{}"
    assert Split.read(folder).info == SplitInfo()


def test_a_record_is_written_once() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SplitInfo().rows_read = 3  # type: ignore[misc]
