"""One table as text and as Markdown: aligned, escaped, and harmless on a terminal."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from freqd.numbers import NBSP
from freqd.report.table import Table, for_terminal

TABLE = Table("Shops", ["shop", "users"], [["a|b", "1,200"], ["long name", f"3{NBSP}M"]], frozenset({1}), strong=1)


def test_columns_of_numbers_are_flush_right() -> None:
    assert TABLE.text().replace(NBSP, " ").splitlines() == [
        "shop       users",
        "---------  -----",
        "a|b        1,200",
        "long name    3 M",
    ]


def test_markdown_is_escaped_and_one_row_is_bold() -> None:
    assert TABLE.markdown().replace(NBSP, " ").splitlines() == [
        "| shop | users |",
        "| --- | ---: |",
        "| a\\|b | 1,200 |",
        "| **long name** | **3 M** |",
    ]


def test_a_terminal_gets_plain_spaces_and_no_control_characters() -> None:
    assert for_terminal([f"3{NBSP}M", "", "a\x1b[31mred\n"]) == "3 M\n\na[31mred\n"


WIDE = Table(
    "",
    ["name", "size", "what it is"],
    [["grocery", "1,469,307", "a year of purchases of many households"], ["short", "3", ""]],
    frozenset({1}),
    optional=(1,),
)


def test_a_narrow_terminal_goes_without_optional_columns_then_wraps_between_words() -> None:
    assert WIDE.text(80) == WIDE.text()
    assert WIDE.text(34).splitlines() == [
        "name     what it is",
        "-------  -------------------------",
        "grocery  a year of purchases of",
        "         many households",
        "short",
    ]


def test_a_row_becomes_lines_where_its_words_do_not_fit_beside_each_other() -> None:
    assert WIDE.text(16).splitlines() == [
        "name        grocery",
        "what it is  a year of purchases",
        "            of many households",
        "",
        "name        short",
        "what it is",
    ]


@given(st.lists(st.lists(st.text("xy1 ", max_size=30), min_size=3, max_size=3), max_size=5), st.integers(20, 90))
def test_no_word_is_broken_and_no_line_too_wide(rows: list[list[str]], width: int) -> None:
    words = Counter(word for row in rows for cell in row for word in cell.split(" ") if word)
    lines = Table("", ["A", "B", "C"], rows).text(width).splitlines()
    shown = Counter(word for line in lines for word in line.split() if set(word) <= set("xy1"))
    assert shown == words
    if all(len(word) <= 5 for word in words):
        assert max(map(len, lines), default=0) <= width
