"""A real browser, as fixtures that a `conftest.py` imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from required import program

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; where there is none the test is skipped, or fails if it is required."""
    return program("chromium")


@pytest.fixture
def page(chromium: str, tmp_path: Path) -> Iterator[Page]:
    """A page of a browser with an empty profile."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium,
            headless=True,
            args=[*FLAGS],
            viewport={"width": 1920, "height": 1080},
        )
        context.set_default_timeout(60_000)
        opened = context.new_page()
        yield opened
        opened.screenshot(path=tmp_path / "last-seen.png")
        context.close()
