"""A real browser, Debian's Chromium or another one that is installed, which reaches nothing but this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from tests.shell import SMALL, User

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
OWN = ("http://127.0.0.1:", "file:", "data:", "blob:")
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""The browser's own services cannot be reached either."""


class Window:
    """One window: its page, and what went wrong in it.

    Attributes:
        page: what is shown.
        outside: requests to anywhere but this machine; all of them were stopped.
        errors: what the page's scripts threw or wrote to the console as an error.
        missing: images and files that did not come.
    """

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._folder = folder
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.missing: list[str] = []
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.route("**/*", self._let_through)
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("requestfailed", lambda request: self.missing.append(request.url))

    def _let_through(self, route: Any) -> None:
        if route.request.url.startswith(OWN):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def open(self, address: str) -> None:
        """Go to a page, an own window's worth of it: without what an earlier page left in memory."""
        self.page.goto("about:blank")
        self.page.goto(address)

    def shows(self, *texts: str) -> None:
        """Wait until all of these can be seen."""
        for text in texts:
            self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def keep(self, name: str, *, whole: bool = False) -> None:
        """A picture of the page for those who want to see it: in the test's own folder."""
        self.page.screenshot(path=self._folder / f"{name}.png", full_page=whole)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser on this machine ({', '.join(NAMES)}); on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=program, args=[NO_NAMES])
        yield found
        found.close()


@pytest.fixture
def window(browser: Browser, tmp_path: Path) -> Iterator[Window]:
    """A window, in which nothing from outside may have been asked for."""
    opened = Window(browser, tmp_path)
    yield opened
    opened.page.context.close()
    assert opened.outside == []


@pytest.fixture(scope="module")
def shop(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]
) -> Iterator[User]:
    """Somebody whose servers are up, with two versions of one model."""
    folder = tmp_path_factory.mktemp("shop")
    planted().write_csv(folder / "purchases.csv")
    (folder / "small.toml").write_text(SMALL)
    owner = User(folder)
    try:
        started = owner("up", *owner.ports)
        assert started.returncode == 0, started.stdout + started.stderr
        for dim in (2, 4):
            ran = owner("run", "--config", "small.toml", "--set", f"distill.dim={dim}", "--name", f"with-{dim}-numbers")
            assert ran.returncode == 0, ran.stderr
        yield owner
    finally:
        owner("down")
