"""The overview: one screen, and one page without a script."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.report.overview import text
from freqd.report.overview.facts import (
    ChampionFacts,
    Disk,
    DriftFacts,
    ModelFacts,
    MoveFacts,
    Overview,
    RunFacts,
    ScheduleFacts,
    ServerFacts,
    VersionFacts,
)
from freqd.report.overview.page import SHOWN, page

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def version(number: int, **changes: Any) -> VersionFacts:
    facts = {
        "version": str(number), "created": NOW - timedelta(days=30 - number), "run": f"run-{number}", "verdict": "promoted",
        "why": "better", "ndcg_at_10": 0.1 + number / 100, "low": 0.09 + number / 100, "high": 0.12 + number / 100,
        "gap_closed": 0.8, "n_bytes": 883_000, "data": "abc", "address": f"http://127.0.0.1:5000/#/versions/{number}",
    }  # fmt: skip
    return VersionFacts(**(facts | changes))


def model(*versions: VersionFacts, **changes: Any) -> ModelFacts:
    champion = ChampionFacts(version=versions[0], since=NOW - timedelta(days=9), by="gate of run run-2")
    facts = {"name": "freqd-shop", "champion": champion, "versions": versions, "moves": (), "drift": ()}
    return ModelFacts(**(facts | changes))


def overview(**changes: Any) -> Overview:
    facts: dict[str, Any] = {
        "time": NOW, "workdir": "/srv/freqd", "models": (), "runs": (), "schedules": (), "servers": (),
        "disk": Disk(used=3_210_000_000, free=80_000_000_000),
    }  # fmt: skip
    return Overview(**(facts | changes))


def run(**changes: Any) -> RunFacts:
    facts = {
        "name": "shop-1", "started": NOW - timedelta(hours=3), "seconds": 75.0, "state": "finished", "decision": "not promoted",
        "why": "size in bytes is 2000, required <= 1000", "address": "",
    }  # fmt: skip
    return RunFacts(**(facts | changes))


def test_the_screen_says_what_is_served_what_happened_and_what_comes() -> None:
    checks = (
        DriftFacts(
            time=NOW - timedelta(days=2), version="2", headline="no drift", outcome="none", found=False, worst=0.4
        ),
    )
    schedules = (
        ScheduleFacts(name="paused", does="retrain", cron="0 1 * * *", next=None),
        ScheduleFacts(name="monthly", does="retrain", cron="0 3 1 * *", next=NOW + timedelta(days=20)),
        ScheduleFacts(name="weekly", does="retrain", cron="0 3 * * 1", next=NOW + timedelta(days=7)),
    )
    found = overview(models=(model(version(2), version(1), drift=checks),), runs=(run(),), schedules=schedules)
    assert dict(text.screen(found)) == {
        "model": "freqd-shop",
        "champion": "version 2, champion since 2026-02-28 12:00 (9 days, by gate of run run-2): "
        "NDCG@10 0.1200 (0.1100 to 0.1400), 80\u00a0% of the gap closed, 883\u00a0kB",
        "drift": "no drift, 2 days ago",
        "last run": "shop-1, 3 hours ago: not promoted: size in bytes is 2000, required <= 1000",
        "next run": "Mon 2026-03-16 12:00 (weekly)",
        "disk": "3.21\u00a0GB in /srv/freqd, 80.0\u00a0GB free",
    }


def test_what_is_not_there_is_said_with_what_to_do() -> None:
    said = dict(text.screen(overview(schedules=None)))
    assert all("`freqd " in said[label] for label in ("model", "next run"))
    no_champion = overview(models=(model(version(1, verdict="not promoted"), champion=None),))
    assert dict(text.screen(no_champion))["champion"] == "none: 1 version was registered and not promoted"
    assert text.outcome(run(state="failed", decision="not yet", why="InputError")) == "failed: InputError"
    assert text.outcome(run(state="running", decision="not yet", why="the run has not come to its end")) == "running"


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_an_age_is_never_more_than_it_is_and_less_by_under_a_unit(passed: timedelta) -> None:
    number, unit = text.age(NOW - passed, NOW).split()
    length = timedelta(**{unit: 1})
    assert int(number) * length <= passed < (int(number) + 1) * length


class Parsed(HTMLParser):
    """What of a page matters here: elements, addresses, whether all that was opened is closed."""

    VOID = frozenset({"meta", "line", "circle", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_page_needs_no_script_and_nothing_from_elsewhere() -> None:
    checks = tuple(
        DriftFacts(
            time=NOW - timedelta(days=n),
            version="2",
            headline="drift in x",
            outcome="none",
            found=n == 4,
            worst=0.3 * n,
        )
        for n in range(5)
    )
    moves = (MoveFacts(time=NOW, who="ann", what="rollback", version="1", why="complaints"),)
    refused = version(3, verdict="not promoted", why="worse")
    shop = model(version(2), refused, version(1, low=None, high=None), drift=checks, moves=moves)
    html = page(overview(models=(shop,), runs=(run(),), links=(("Prefect", "http://127.0.0.1:4200/runs"),)))
    found = Parsed(html)
    assert not {"script", "img", "link", "iframe", "form"} & set(found.tags)
    assert all(link.startswith("http://127.0.0.1:") for link in found.links)
    assert found.tags.count("svg") == 2
    for words in ("rolled back to", "complaints", "worse", "size in bytes is 2000", "hollow: refused"):
        assert words in html
    assert html.count('class="over"') == 1, "only the check that was over its limit"
    assert html.count('class="champion"') == 1
    assert not re.search(r"\bnan\b|None|inf\b", re.sub(r"<style>.*?</style>", "", html, flags=re.S))


@pytest.mark.parametrize(
    "servers", [(), (ServerFacts(name="worker", pid=None, state="gone", address="", memory_bytes=0),)]
)
def test_an_empty_or_broken_place_has_a_page_too(servers: tuple[ServerFacts, ...]) -> None:
    found = overview(servers=servers, schedules=None)
    assert not found.well
    assert "verdict bad" in page(found)


def test_text_from_outside_stays_text() -> None:
    evil = "<script>alert(1)</script>"
    shop = model(version(1, why=evil, run=evil), name=evil)
    html = page(overview(models=(shop,), runs=(run(name=evil, why=evil, address='"><script>'),)))
    assert "<script" not in html


def test_many_versions_are_drawn_up_to_a_number() -> None:
    shop = model(*(version(n) for n in range(3 * SHOWN, 0, -1)))
    html = page(overview(models=(shop,)))
    assert html.count('class="dot-of"') == SHOWN
