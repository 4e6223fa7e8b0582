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
from freqd.feedback import log as log_module
from freqd.feedback.log import KINDS, SCHEMA

BIG = 10**9


def event(n: int, **changes: object) -> Event:
    return Event(f"u{n}", f"i{n}", "impression", "1", time=n)._replace(**changes)  # type: ignore[arg-type]


def together(folder: Path) -> pl.DataFrame:
    return pl.concat(read_events(folder))


def kept(folder: Path) -> list[int]:
    return sorted(together(folder)["time"].to_list())


def test_nothing_is_made_before_the_first_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", "shop", BIG)
    log.write([])
    assert not (tmp_path / "events").exists()
    assert together(tmp_path / "events").schema == pl.Schema(SCHEMA)


def test_what_was_written_is_read_before_and_after_it_becomes_a_part(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "shop", BIG, rows=4)
    for n in range(10):
        log.write([event(n, position=n + 1)])
        assert kept(tmp_path) == list(range(n + 1))
    assert len(list(tmp_path.glob("part-*.parquet"))) == 2
    frame = together(tmp_path)
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
        found = together(Path(name)).select("user", "item", "event", "time", "position").rows()
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


def test_a_part_that_cannot_be_made_refuses_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path, "shop", BIG, rows=2)

    def broken(*_: object) -> None:
        raise pl.exceptions.ComputeError("no")

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", broken)
        for n in range(5):
            log.write([event(n)])
    assert kept(tmp_path) == list(range(5))
    assert len(list(tmp_path.glob("part-*"))) == 0
    EventLog(tmp_path, "shop", BIG).write([event(9)])
    assert kept(tmp_path) == [0, 1, 2, 3, 4, 9]
    assert len(list(tmp_path.glob("part-*"))) >= 2, "what was left became parts"


def test_a_file_of_lines_is_locked_before_anybody_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = EventLog(tmp_path, "shop", BIG)
    real = log_module.fcntl.flock
    met: list[str] = []

    def between(file: int, how: int) -> None:
        """Another process opens its log right before this one has its lock."""
        if not met:
            met.append("now")
            second.write([event(2)])
        real(file, how)

    monkeypatch.setattr(log_module.fcntl, "flock", between)
    first = EventLog(tmp_path, "shop", BIG)
    first.write([event(1)])
    first.write([event(3)])
    assert kept(tmp_path) == [1, 2, 3]


def test_a_part_that_is_made_while_somebody_reads_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path, "shop", BIG, rows=4)
    for n in range(3):
        log.write([event(n)])
    real = log_module._whole

    def then(path: Path) -> list[bytes]:
        lines = list(real(path))
        if path.exists() and len(lines) == 3:
            log.write([event(3)])  # the part is made in between
        return lines

    with monkeypatch.context() as patched:
        patched.setattr(log_module, "_whole", then)
        found = together(tmp_path)
    assert sorted(found["time"]) == [0, 1, 2, 3]


def test_a_damaged_part_is_named_and_passed_over(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "shop", BIG, rows=1)
    log.write([event(1)])
    (tmp_path / "part-0-0.parquet").touch()
    damaged: list[Path] = []
    found = pl.concat(read_events(tmp_path, damaged.append))
    assert found["time"].to_list() == [1]
    assert [path.name for path in damaged] == ["part-0-0.parquet"]


def test_the_limit_holds_for_lines_too(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "shop", 200_000)
    for n in range(400):
        log.write([Event("u" * 900 + str(n), "i" * 900, "click", "1")] * 3)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 250_000
