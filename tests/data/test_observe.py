from __future__ import annotations

from pathlib import Path

import pytest

from freqd.config import DataConfig
from freqd.data import Places, observe
from freqd.errors import InputError


def write(path: Path, *rows: str) -> str:
    path.write_text("\n".join(("user,item,time", *rows)) + "\n")
    return str(path)


def look(tmp_path: Path, **settings: object):
    return observe(DataConfig.model_validate(settings), places=Places(None, tmp_path / "cache"))


def test_everybody_stays_and_a_pair_counts_once_at_its_earliest_time(tmp_path: Path) -> None:
    rows = ("a,x,2024-01-03", "a,x,2024-01-02", "b,y,2024-01-05", ",y,2024-01-05", "c,x,2024-02-01")
    found = look(tmp_path, source=[write(tmp_path / "all.csv", *rows)], as_of="2024-01-31")
    pairs = found.interactions
    assert pairs.time is not None
    named = {
        (found.user_ids[u], found.item_ids[i], t)
        for u, i, t in zip(pairs.user.tolist(), pairs.item.tolist(), pairs.time.tolist(), strict=True)
    }
    assert named == {("a", "x", 1704153600), ("b", "y", 1704412800)}
    assert (found.name, found.rows_read) == ("all", 5)
    assert sum(row.rows for row in found.dropped) == 3


def test_parts_are_taken_together(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "a,x,2024-01-03", "b,y,2024-01-03")
    test = write(tmp_path / "test.csv", "a,x,2024-01-04", "a,y,2024-01-04")
    assert len(look(tmp_path, train=train, test=test).interactions) == 3


def test_what_a_run_would_refuse_is_refused(tmp_path: Path) -> None:
    source = [write(tmp_path / "all.csv", "a,x,2024-01-03", "b,y,2024-01-03")]
    with pytest.raises(InputError, match=r"data\.min_weight is set"):
        look(tmp_path, source=source, min_weight=3)
    with pytest.raises(InputError, match="quantity"):
        look(tmp_path, source=source, columns={"user": "quantity"})
