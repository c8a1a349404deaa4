"""What the environment configures, and what it must not."""

from __future__ import annotations

import pytest

from mlops_assets.settings import (
    ROOT,
    STATE_FORMAT,
    Settings,
    SettingsError,
    create_whole,
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


def test_a_file_is_made_whole_and_an_existing_one_stays(tmp_path) -> None:
    create_whole(tmp_path / "mark", b"first")
    create_whole(tmp_path / "mark", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
    assert (tmp_path / "mark").read_bytes() == b"first"
