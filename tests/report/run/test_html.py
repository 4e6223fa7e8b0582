"""The HTML report: self-contained, escaped, accessible, and true to the summary."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from freqd import numbers as fmt
from freqd.report.run import html
from freqd.report.run.html import data_uri
from freqd.report.run_result import RunResult
from freqd.report.samples import SampleItem, Samples, SampleUser

VOID = {"meta", "img", "link", "br", "input", "hr", "source"}
CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(summary: dict[str, Any], figures: dict[str, bytes] | None = None) -> str:
    return html.render(RunResult.model_validate(summary), figures)


class Page(HTMLParser):
    """Elements with their attributes, text by element, and whether tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_self_contained(page: Page) -> None:
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "svg", "video", "audio"}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("srcset", "style", "action", "background"), (tag, name)
            if name == "src":
                assert value.startswith("data:image/png;base64,")
                assert base64.b64decode(value.split(",", 1)[1], validate=True).startswith(b"\x89PNG")
            if name == "href":
                assert value.startswith("#")
    policy = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == [CSP]


def check_accessible(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    for image in page.all("img"):
        assert len(image["alt"]) > 20
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in page.all("a")} <= set(ids)


def test_a_full_report(full: dict[str, Any], figures: dict[str, bytes]) -> None:
    source = render(full, figures)
    page = Page(source)
    check_self_contained(page)
    check_accessible(page)
    assert len(page.all("img")) == 12
    assert not re.search(r"url\(|@import|https?://", source)
    for words in (
        "The student closes", "A linear low-pass filter on the items", "fewer than 10 distinct items", "5be2f1c09d3a4e0f8a7c6b5d4e3f2a10",
        "0b7a5f0e-6d8f-4f0a-9a3c-2f1e0d9c8b7a", full["data"]["digest"], "2.13.0+cpu", "teacher.factors", "(validation from 2017-10-29",
    ):  # fmt: skip
        assert words in page.text
    assert "no product id" not in page.text, "a reason that dropped nothing is noise"


def test_the_numbers_are_those_of_the_summary(full: dict[str, Any]) -> None:
    cells = Page(render(full, {})).cells
    for role in ("teacher", "scratch", "svd", "student"):
        assert fmt.metric(full["metrics"][role]["ndcg_at_10"]) in cells
        assert fmt.metric(full["metrics"][role]["recall_at_10"]) in cells
        assert f"{full['models'][role]['parameters']:,}" in cells
    for row in full["data"]["dropped"][:2]:
        assert f"{row['rows']:,}" in cells
    for stage in full["stages"]:
        assert fmt.duration(stage["seconds"]) in cells
    assert fmt.percent(full["spectrum"]["item"]["mastery"]["student"][3]) in cells


def test_the_command_makes_the_same_settings_again(full: dict[str, Any]) -> None:
    page = Page(render(full, {}))
    assert "freqd run" in page.text
    assert "--set distill.dim=16" in page.text
    assert "--workdir freqd-work" in page.text


def test_incomplete_summaries(degenerate: RunResult, figures: dict[str, bytes]) -> None:
    page = Page(html.render(degenerate, figures))
    check_self_contained(page)
    check_accessible(page)
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text


def test_each_missing_section(full: dict[str, Any], figures: dict[str, bytes]) -> None:
    small = dict.fromkeys(figures, figures["costs_models"])
    for section in ("evaluated", "model", "gate", "budget", "start", "advice", "folder"):
        page = Page(render({name: part for name, part in full.items() if name != section}, small))
        check_self_contained(page)
        check_accessible(page)


def test_sample_users_are_in_the_copy_that_asks_for_them(full: dict[str, Any]) -> None:
    result = RunResult.model_validate(full)
    item = SampleItem(name="<b>Milk</b>", category="Dairy", hit=True)
    lists = {"teacher": (item,), "student": (item, item)}
    user = SampleUser(name="user-0123", n_had=1, n_took=1, had=(item,), took=(item,), lists=lists)
    samples = Samples(users=(user,), by_time=True, titled=True)
    source = html.render(result, {}, samples)
    page = Page(source)
    check_self_contained(page)
    check_accessible(page)
    assert "user-0123: 1 item before, 1 in the test" in page.text
    assert "✓ <b>Milk</b>" in page.text, "a title is only text"
    assert "Student (2 hits)" in page.cells
    for without in (None, Samples(users=(), by_time=True, titled=True)):
        assert "user-0123" not in html.render(result, {}, without)
        assert 'id="samples"' not in html.render(result, {}, without)


def test_hostile_text_is_only_text(hostile: dict[str, Any], figures: dict[str, bytes]) -> None:
    source = render(hostile, figures)
    page = Page(source)
    check_self_contained(page)
    check_accessible(page)
    assert "<script" not in source.lower()
    assert '<script>alert("x")</script>' in page.text, "it is shown as what it is"


def test_text_in_backticks_is_code_and_still_escaped(full: dict[str, Any]) -> None:
    full["advice"] = ["try `<b>teacher.kind</b>` or `bpr", "`a` and `b`"]
    source = render(full, {})
    assert "<code>a</code> and <code>b</code>" in source
    assert "<b>teacher.kind" not in source


def test_secrets_in_addresses_are_left_out(full: dict[str, Any]) -> None:
    full["mlflow"]["tracking_uri"] = "postgresql+psycopg://freqd:hunter2@db.intern/mlflow"
    source = render(full, {})
    assert "hunter2" not in source
    assert "postgresql+psycopg://…@db.intern/mlflow" in source


def test_figures_that_are_drawn_already_are_used(full: dict[str, Any], figures: dict[str, bytes]) -> None:
    given = {"quality": figures["quality"], "not of this report": b""}
    assert [image["src"] for image in Page(render(full, given)).all("img")] == [data_uri(figures["quality"])]


def test_long_names_do_not_break_it(long_names: dict[str, Any], figures: dict[str, bytes]) -> None:
    page = Page(render(long_names, figures))
    check_self_contained(page)
    check_accessible(page)


def test_no_gain_says_so_on_top(no_gain: dict[str, Any]) -> None:
    page = Page(render(no_gain, {}))
    assert "This teacher is no better than the no-distillation baseline" in page.text
    assert "What to do next" in page.text
    assert "Not promoted" in page.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(full: dict[str, Any], scheme: str) -> None:
    """Text colours reach 4.5 to 1 (WCAG AA) on the surfaces they stand on."""
    source = render(full, {})
    blocks = re.findall(r":root \{(.*?)\n\s*\}", source, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6})", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6})", blocks[1]))
    for text in ("ink", "soft", "link", "good", "mixed", "bad", "neutral"):
        for surface in ("card", "page", "faint"):
            assert contrast(colours[text], colours[surface]) >= 4.5, (text, surface)
    for tone in ("good", "mixed", "bad", "neutral"):
        assert contrast(colours["ink"], colours[f"{tone}-wash"]) >= 4.5


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
