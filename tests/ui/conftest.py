"""A state directory with a model to evaluate, its UI on a free port, and a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from installation import Installation
from playwright.sync_api import Page, sync_playwright
from trained_model import publish_model

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
COMMAND = (sys.executable, "-c", "from mlops_assets.cli import main; main()")


@dataclass(frozen=True)
class Ui:
    """A running UI: its address, and the processes that serve it."""

    url: str
    processes: list[psutil.Process]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; where there is none the test is skipped, or fails if it is required."""
    found = shutil.which("chromium")
    if found is not None:
        return found
    reason = "there is no `chromium` on the PATH"
    if "chromium" in os.environ.get("MLOPS_REQUIRE", "").split(","):
        pytest.fail(f"{reason}, and MLOPS_REQUIRE asks for it.")
    pytest.skip(f"{reason}; on Debian: apt-get install chromium.")


@pytest.fixture
def unjudged(chromium: str, installation: Installation, tmp_path: Path) -> Installation:
    """A state directory with a model that nothing has judged."""
    publish_model(installation, tmp_path / "made")
    # The command puts ours in place; with the tests' own a request for an e-mail covers the page.
    (installation.home / "dagster" / "dagster.yaml").unlink()
    return installation


@contextmanager
def served(home: Path) -> Iterator[Ui]:
    """The UI of a state directory, ended as Ctrl-C does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [*COMMAND, "ui", "--port", str(port)],
        stdout=subprocess.PIPE,
        env={**os.environ, "MLOPS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")},
        text=True,
    )
    processes = [psutil.Process(server.pid)]
    try:
        assert server.stdout is not None
        assert f"http://127.0.0.1:{port}" in server.stdout.readline()
        processes += processes[0].children(recursive=True)
        yield Ui(f"http://127.0.0.1:{port}", processes)
        processes += processes[0].children(recursive=True)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


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
