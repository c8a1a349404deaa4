"""A state directory with a month to train on, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation
from made_up_month import publish_training_set
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
def untrained(chromium: str, installation: Installation, tmp_path: Path) -> Installation:
    """A state directory with a training set that nothing has learnt from."""
    publish_training_set(installation, tmp_path / "made")
    # The command puts ours in place; with the tests' own a request for an e-mail covers the page.
    (installation.home / "dagster" / "dagster.yaml").unlink()
    return installation


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
