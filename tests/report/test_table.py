"""One table as text and as Markdown: aligned, escaped, and harmless on a terminal."""

from __future__ import annotations

from freqd.report.numbers import NBSP
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
