"""Events are kept: all of a batch or none, by whatever a process dies of, on a bounded share of the disk."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.feedback import Event, EventLog, read_events
from freqd.feedback.log import KINDS, SCHEMA

BIG = 10**9


def event(n: int, **changes: object) -> Event:
    return Event(f"u{n}", f"i{n}", "impression", "1", time=n)._replace(**changes)  # type: ignore[arg-type]


def kept(folder: Path) -> list[int]:
    return sorted(read_events(folder).collect()["time"].to_list())


def test_nothing_is_made_before_the_first_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", "shop", BIG)
    log.write([])
    assert not (tmp_path / "events").exists()
    assert read_events(tmp_path / "events").collect().schema == pl.Schema(SCHEMA)


def test_what_was_written_is_read_before_and_after_it_becomes_a_part(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "shop", BIG, rows=4)
    for n in range(10):
        log.write([event(n, position=n + 1)])
        assert kept(tmp_path) == list(range(n + 1))
    assert len(list(tmp_path.glob("part-*.parquet"))) == 2
    frame = read_events(tmp_path).collect()
    assert set(frame["model"]) == {"shop"}
    assert sorted(frame["position"]) == list(range(1, 11))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            Event,
            st.text(min_size=1).filter(lambda t: t.isprintable()),
            st.text(min_size=1),
            st.sampled_from(KINDS),
            st.just("2"),
            st.integers(0, 2**50),
            st.none() | st.integers(1, 10**6),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_every_text_comes_back_as_it_was(events: list[Event], rows: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        log = EventLog(Path(name), "shop", BIG, rows=rows)
        for one in events:
            log.write([one])
        found = read_events(Path(name)).collect().select("user", "item", "event", "time", "position").rows()
    assert Counter(found) == Counter((e.user, e.item, e.event, e.time, e.position) for e in events)


def test_the_oldest_parts_make_room_and_the_newest_stay(tmp_path: Path) -> None:
    one = tmp_path / "one"
    EventLog(one, "shop", BIG, rows=1).write([event(0)])
    size = next(one.glob("part-*")).stat().st_size
    log = EventLog(tmp_path / "many", "shop", int(3.4 * size), rows=1)
    for n in range(20):
        log.write([event(n)])
    assert kept(tmp_path / "many") == [17, 18, 19]


def test_a_killed_process_loses_nothing_and_its_lines_become_a_part(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from freqd.feedback import Event, EventLog\n"
        "log = EventLog(Path(sys.argv[1]), 'shop', 10**9)\n"
        "for n in range(5): log.write([Event('u', 'i', 'click', '1', time=n)])\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert kept(tmp_path) == list(range(5))
    (left,) = tmp_path.glob("lines-*.jsonl")
    with left.open("ab") as file:
        file.write(b'{"time": 9, "us')  # killed in the middle of a line
    assert kept(tmp_path) == list(range(5))
    EventLog(tmp_path, "shop", BIG).write([event(7)])
    assert not left.exists()
    assert kept(tmp_path) == [0, 1, 2, 3, 4, 7]


def test_two_processes_do_not_take_each_others_lines(tmp_path: Path) -> None:
    first, second = EventLog(tmp_path, "shop", BIG), EventLog(tmp_path, "shop", BIG)
    first.write([event(1)])
    second.write([event(2)])
    first.write([event(3)])
    assert len(list(tmp_path.glob("lines-*.jsonl"))) == 2
    assert kept(tmp_path) == [1, 2, 3]


def test_a_batch_that_does_not_fit_is_not_kept_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path, "shop", BIG)
    log.write([event(1)])
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr("freqd.feedback.log.os.write", lambda file, data: real(file, data[:30]))
        with pytest.raises(OSError, match="whole batch"):
            log.write([event(2), event(3)])
    log.write([event(4)])
    assert kept(tmp_path) == [1, 4]
    (path,) = tmp_path.glob("lines-*.jsonl")
    assert [json.loads(line)["time"] for line in path.read_bytes().splitlines()] == [1, 4]
