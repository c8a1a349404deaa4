"""An instance in which runs fail, and the settings of its alerts."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from alerting_instance import Clock, World
from ports import free_port
from receivers import Receiver, receiver

from mlops_assets.settings import settings


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A record of its own, over a lake that does not answer."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("MLOPS_UI_URL", "https://dagster.example.org")
    settings.cache_clear()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield World(instance)
    settings.cache_clear()


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A webhook that is configured."""
    with receiver() as taken:
        monkeypatch.setenv("MLOPS_ALERT_WEBHOOK_URL", taken.url)
        settings.cache_clear()
        yield taken


@pytest.fixture
def pager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A service of PagerDuty's kind that is configured."""
    with receiver() as taken:
        monkeypatch.setenv("MLOPS_ALERT_PAGERDUTY_KEY", "r0uting")
        monkeypatch.setenv("MLOPS_ALERT_PAGERDUTY_URL", taken.url)
        settings.cache_clear()
        yield taken


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the sensors."""
    return Clock(monkeypatch)
