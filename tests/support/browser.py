"""A real browser for tests: the system's Chromium, driven by Playwright, which downloads none.

::

    from browser import chromium  # noqa: F401  in a conftest.py: the fixture

    def test_page(chromium):
        with chromium.visit("http://127.0.0.1:5000/#/experiments/1") as seen:
            seen.page.get_by_text("sweep").wait_for()
        assert seen.errors == []

A machine without a browser skips such tests with ``NO_BROWSER``, which .ci/check_skips.py excuses
where it is true.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = f"no browser is installed: one of {', '.join(NAMES)}"
PATIENCE_MS = 60_000.0  # for a page beside other load


@dataclass
class Seen:
    """What happened on a page.

    Attributes:
        page: Playwright's ``Page``, while it is open.
        errors: console errors and uncaught exceptions.
        requests: every address that the page asked for, its own first; ``data:`` ones aside.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Chromium:
    """A running browser; every visit has its own cookies, cache and storage."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextmanager
    def visit(self, url: str | Path, *, width: int = 1400, height: int = 900) -> Iterator[Seen]:
        """Open a page and wait until it is loaded.

        Args:
            url: an address, or a file.
        """
        address = url.absolute().as_uri() if isinstance(url, Path) else url
        context = self._browser.new_context(viewport={"width": width, "height": height})
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            seen = Seen(page)
            page.on("console", lambda said: _on_console(seen, said))
            page.on("pageerror", lambda error: seen.errors.append(str(error)))
            page.on("request", lambda asked: _on_request(seen, asked.url))
            page.goto(address, wait_until="load")
            yield seen
        finally:
            context.close()


def _on_console(seen: Seen, said: Any) -> None:
    if said.type == "error":
        seen.errors.append(said.text)


def _on_request(seen: Seen, url: str) -> None:
    if not url.startswith("data:"):
        seen.requests.append(url)


def program() -> str | None:
    """Where the system's browser is; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_chromium() -> Iterator[Chromium]:
    """Start the browser; raises RuntimeError where the machine has none."""
    from playwright.sync_api import sync_playwright

    found = program()
    if found is None:
        raise RuntimeError(NO_BROWSER)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    args = ["--no-sandbox"] if root else []  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=[*args, "--disable-dev-shm-usage"], timeout=PATIENCE_MS
        )
        try:
            yield Chromium(browser)
        finally:
            browser.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests."""
    if program() is None:
        pytest.skip(NO_BROWSER)
    with open_chromium() as browser:
        yield browser
