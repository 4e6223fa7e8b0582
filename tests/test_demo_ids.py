"""The ids in examples are some of the demo's, so that whoever tries them there gets an answer about a known user."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from flows.cli.main import COMMANDS
from freqd.data import catalog
from freqd.data.catalog import ALL
from freqd.serve.http.page import EXAMPLES

ROOT = Path(__file__).resolve().parent.parent
LEAST = 5
"""Interactions that a user or an item of the demo has at least."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    found = catalog.find("grocery", None, tmp_path_factory.mktemp("cache"))
    rows = pl.read_parquet(found.files[ALL].path)
    named = {"user": found.named.columns.user, "item": found.named.columns.item}
    counts = {side: rows.group_by(pl.col(str(name)).cast(pl.String).alias("id")).len() for side, name in named.items()}
    return {side: set(count.filter(pl.col("len") >= 20 * LEAST)["id"]) for side, count in counts.items()}


def ids_of(value: object) -> dict[str, set[str]]:
    """Ids in the body of a question."""
    found: dict[str, set[str]] = {"user": set(), "item": set()}
    if isinstance(value, list):
        for entry in value:
            for side, ids in ids_of(entry).items():
                found[side] |= ids
    elif isinstance(value, dict):
        for name, inner in value.items():
            side = (
                "user" if name in ("user", "users") else "item" if name in ("item", "history", "allow", "deny") else ""
            )
            if side:
                found[side] |= set(inner if isinstance(inner, list) else [inner])
            else:
                found = {key: ids | ids_of(inner)[key] for key, ids in found.items()}
    return found


def test_the_services_page(known: dict[str, set[str]]) -> None:
    for examples in EXAMPLES.values():
        for _, body in examples:
            found = ids_of(body)
            assert found["item"] | found["user"]
            assert found["user"] <= known["user"]
            assert found["item"] <= known["item"]


def test_the_page_on_serving(known: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "serving.md").read_text()
    assert set(re.findall(r"/recommend/(\w+)\?", text)) <= known["user"]
    bodies = [json.loads(body) for body in re.findall(r"-d '(\{.*?\})'", text, re.DOTALL)]
    assert len(bodies) == 2
    for body in bodies:
        found = ids_of(body)
        assert found["user"] <= known["user"]
        assert found["item"] <= known["item"]


def test_the_help_of_explain(known: dict[str, set[str]]) -> None:
    (example,) = (text for group in COMMANDS.values() for _, text in group if text.startswith("freqd explain"))
    user, item = example.split()[2:]
    assert (user in known["user"], item in known["item"]) == (True, True)
