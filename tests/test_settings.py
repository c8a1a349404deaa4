"""What the environment configures, and what it must not."""

from __future__ import annotations

import errno
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn
from urllib.request import proxy_bypass

import pytest
import requests
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

from mlops_assets.cli import ui
from mlops_assets.cli.program import exit_code
from mlops_assets.files import create_whole
from mlops_assets.settings import (
    ROOT,
    STATE_FORMAT,
    Settings,
    SettingsError,
    open_state,
    settings,
)


def test_a_variable_named_as_a_field_configures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_HOME", raising=False)
    monkeypatch.delenv("MLOPS_SOURCE", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("SOURCE", "/elsewhere")
    found = Settings()
    assert found.home == ROOT / ".mlops"
    assert found.source is None


def test_an_unusable_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEFS_BRANCH", "not a branch")
    settings.cache_clear()
    with pytest.raises(SettingsError, match="LAKEFS_BRANCH is not usable"):
        settings()
    settings.cache_clear()


@pytest.mark.parametrize(
    ("nightly", "told"),
    [
        ("0 25 * * *", "'25' is no hour of a cron expression, from 0 to 23"),
        ("60 3 * * *", "'60' is no minute"),
        ("0 3 0 * *", "'0' is no day of the month"),
        ("0 3 * 13 *", "'13' is no month"),
        ("0 3 * * 8", "'8' is no day of the week"),
        ("0 5-3 * * *", "'5-3' is no hour"),
        ("*/0 3 * * *", "'*/0' is no minute"),
        ("0 3, * * *", "'' is no hour"),
        ("0 3/ * * *", "'3/' is no hour"),
        ("0 3 * *", "is no cron expression: write minute, hour"),
        ("0 0 3 * * *", "is no cron expression"),
        ("0 3 30,31 2 *", "names a day that none of its months has"),
        ("0 3 30 2 1", "names a day that none of its months has"),
    ],
)
def test_a_time_that_never_comes_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], nightly: str, told: str
) -> None:
    monkeypatch.setenv("MLOPS_NIGHTLY", nightly)
    settings.cache_clear()
    assert exit_code(["metrics", "--push"]) == 1
    settings.cache_clear()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("mlops-assets: MLOPS_NIGHTLY is not usable: ")
    assert told in line


@pytest.mark.parametrize(
    "nightly",
    [
        "0 3 * * *",
        "*/15 0-23/2 1,15 * 1-5",
        "5/10 3 31 1-3 *",
        "0 3 31 4,5 1",
        "0 3 * * 7",
        "0 3 29 2 *",
    ],
)
def test_a_time_that_comes_is_taken_and_dagster_finds_it(
    monkeypatch: pytest.MonkeyPatch, nightly: str
) -> None:
    monkeypatch.setenv("MLOPS_NIGHTLY", nightly)
    assert Settings().nightly == nightly
    assert is_valid_cron_string(nightly)
    times = cron_string_iterator(0, nightly, "America/New_York")
    assert next(times) < next(times)


def test_a_state_directory_of_a_newer_format_is_refused_as_it_is(tmp_path) -> None:
    open_state(tmp_path)
    (tmp_path / "format").write_text(f"{STATE_FORMAT + 1}\n")
    with pytest.raises(SettingsError, match="upgrade mlops-assets"):
        open_state(tmp_path)
    assert (tmp_path / "format").read_text() == f"{STATE_FORMAT + 1}\n"


def test_an_empty_variable_configures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", "")
    monkeypatch.setenv("MLOPS_HOME", "")
    found = Settings()
    assert found.lakefs_endpoint is None
    assert found.home == ROOT / ".mlops"


def no_links(*_: object) -> NoReturn:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_made_whole_and_an_existing_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    create_whole(tmp_path / "mark", b"first")
    create_whole(tmp_path / "mark", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
    assert (tmp_path / "mark").read_bytes() == b"first"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("variable", "before", "after"),
    [
        ("no_proxy", "", "localhost,127.0.0.1,::1"),
        ("no_proxy", "corp.example, localhost", "corp.example,localhost,127.0.0.1,::1"),
        ("NO_PROXY", ".corp.example", ".corp.example,localhost,127.0.0.1,::1"),
        ("no_proxy", "*", "*"),
    ],
)
def test_a_proxy_is_for_the_way_out_and_not_for_servers_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, before: str, after: str
) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(variable, before)
    open_state(tmp_path / "home")
    assert os.environ["no_proxy"] == after
    assert proxy_bypass("lakefs.example.com") is (before == "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        assert ui._answers(url)
        assert requests.get(url, timeout=5).ok
        server.shutdown()
