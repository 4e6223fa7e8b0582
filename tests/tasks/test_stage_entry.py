"""What the store remembers of a stage: entries of earlier versions are read, and what is none counts as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from freqd.storage.store import Store
from tasks.stage_entry import Shape, StageEntry

ENTRY = {
    "refs": {"model": {"kind": "model", "digest": "d", "uri": "/u"}},
    "headline": "done",
    "metrics": {"users": 3, "ndcg": 0.5, "gap": None},
    "series": [{"epoch": 1, "mastery_user": [0.1, 0.2]}],
    "seconds": 1.5,
    "peak_bytes": 7,
    "run": "monday",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_an_entry_without_pages_and_lines_is_one_of_an_earlier_version(store: Store) -> None:
    store.record("teacher", "k", ENTRY)
    found = StageEntry.recall(store, "teacher", "k")
    assert found is not None
    assert (found.shown, found.lines, found.refs["model"].digest) == ([], [], "d")
    found.record(store, "teacher", "again")
    assert store.recall("teacher", "again") == {**ENTRY, "shown": [], "lines": []}


@pytest.mark.parametrize("damage", ["refs", "seconds"])
def test_what_lacks_a_part_counts_as_none(store: Store, damage: str) -> None:
    store.record("teacher", "k", {name: part for name, part in ENTRY.items() if name != damage})
    assert StageEntry.recall(store, "teacher", "k") is None
    assert StageEntry.recall(store, "teacher", "other") is None


def test_the_key_follows_from_all_that_shapes_a_result_and_from_nothing_else() -> None:
    one = Shape("teacher", {"split": "a"}, {"seed": 0, "dim": 4}, "code")
    assert one.key == Shape("teacher", {"split": "a"}, {"dim": 4, "seed": 0}, "code").key
    others = [
        Shape("scratch", one.inputs, one.settings, one.code),
        Shape("teacher", {"split": "b"}, one.settings, one.code),
        Shape("teacher", one.inputs, {"seed": 1, "dim": 4}, one.code),
        Shape("teacher", one.inputs, one.settings, "other"),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5
