"""Every freqd command in the docs is run, in order, as a reader would run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "--set", "teacher.factors=8", "--set", "teacher.regularization=10.0", "--set", "teacher.alpha=10.0", "--set", "teacher.iterations=2",
    "--set", "distill.dim=2", "--set", "distill.epochs=1", "--set", "baselines.epochs=1", "--set", "baselines.models=bpr", "--set", "baselines.weight_decay=1e-3",
]  # fmt: skip


def small(words: list[str]) -> list[str]:
    """What makes a command quick; ALS where it names no teacher of its own."""
    own = any(word.startswith("teacher.kind=") for word in words) or "--teacher" in words
    size = [word for word in words if word.startswith("distill.dim=")]
    room = ["--set", "teacher.factors=32", "--set", *size] if size else []
    return [*SMALL, *([] if own else ["--set", "teacher.kind=als"]), *room]


PAGES = ["README.md", "docs/tutorial.md", "docs/guide.md", "docs/comparing.md", "docs/retraining.md"]


ALL = sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
RUN_ELSEWHERE = {"docs/extending.md": "test_extending.py", "docs/lists.md": "test_lists_page.py"}
"""Pages whose bash blocks another test runs. Commands that need servers, other machines or root stand in text blocks."""


def commands(page: str, kind: str = "bash") -> list[list[str]]:
    """The freqd commands of a page's blocks of this kind, without comments."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("freqd ")]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> None:
    rows = planted()
    rows.with_columns(customer="user", sku="item").write_csv(tmp_path / "purchases.csv")
    titles = rows.select(sku="item", title=pl.format("Jam {}", "item")).unique()
    titles.write_csv(tmp_path / "items.csv")
    users, items = (rows[name].unique().sort().to_numpy().astype(str) for name in ("user", "item"))
    rng = np.random.default_rng(0)
    tables = {"users": rng.random((len(users), 4), np.float32), "items": rng.random((len(items), 4), np.float32)}
    np.savez(tmp_path / "embeddings.npz", user_ids=users, item_ids=items, **tables)
    found = commands(page)
    assert found, f"{page} shows no command"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    for words in found:
        more = small(words) if words[1] in ("run", "backfill", "cadence", "compare", "tune") else []
        done = subprocess.run(
            [Path(sys.executable).parent / "freqd", *words[1:], *more],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


def test_a_command_in_a_bash_block_is_run_by_a_test() -> None:
    shown = {page for page in ALL if commands(page)}
    assert shown == {*PAGES, *RUN_ELSEWHERE}
    for page, test in RUN_ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text()


@pytest.mark.parametrize("page", [page for page in ALL if commands(page, "text")])
def test_a_command_that_cannot_be_run_here_is_one_that_freqd_takes(page: str) -> None:
    from flows.cli.main import app

    for words in commands(page, "text"):
        app.parse_args(words[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", ALL)
def test_links_between_the_docs_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = (ROOT / page).parent.joinpath(target) if target else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(linked.read_text()), f"{page} links to {target}#{anchor}"


def anchors(text: str) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_docs_name_only_settings_that_exist() -> None:
    from freqd.config import RunConfig, describe

    known = {row[0] for row in describe(RunConfig)}
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for name in re.findall(r"--set\s+\"?([a-z_.]+)=", page.read_text()):
            assert name in known | {"section.key"}, f"{page.name} names the setting {name}"
