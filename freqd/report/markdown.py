"""Markdown as the pages of Prefect and MLflow show it."""

from __future__ import annotations


def escape(words: str) -> str:
    """Text that markdown shows as it is: one line, every character with a meaning escaped."""
    flat = " ".join(words.split(None)) if "\n" in words or "\r" in words else words
    return "".join(f"\\{c}" if c in "\\*_[]<>|#!~$" else "&amp;" if c == "&" else c for c in flat)
