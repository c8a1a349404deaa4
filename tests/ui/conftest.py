"""A state directory with a month to train on, and a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium, page  # noqa: F401 - fixtures
from installation import Installation
from made_up_month import publish_training_set


@pytest.fixture
def untrained(
    chromium: str,  # noqa: F811 - the fixture
    installation: Installation,
    tmp_path: Path,
) -> Installation:
    """A state directory with a training set that nothing has learnt from."""
    publish_training_set(installation, tmp_path / "made")
    # The command puts ours in place; with the tests' own a request for an e-mail covers the page.
    (installation.home / "dagster" / "dagster.yaml").unlink()
    return installation
