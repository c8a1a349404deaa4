"""The parsed dbt project that processes share: whole, or made anew."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.cli import installation_checks
from mlops_assets.components import dbt_manifest
from mlops_assets.settings import settings

FILES = {
    "dbt_project.yml": "name: tiny\nversion: 1.0.0\nprofile: tiny\n",
    "profiles.yml": "tiny: {target: a, outputs: {a: {type: duckdb, path: ':memory:'}}}\n",
    "models/one.sql": "select 1 as one\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of one model, whose parsed state is kept in the test's own folder."""
    folder = tmp_path / "dbt_project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


@pytest.mark.parametrize("damaged", ['{"metadata": ', None], ids=["half a file", "no file"])
def test_doctor_finds_a_damaged_manifest_and_it_is_made_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch, damaged: str | None
) -> None:
    monkeypatch.setattr(installation_checks, "ROOT", project.parent)
    manifest = dbt_manifest.prepared(project) / "manifest.json"
    manifest.unlink()
    if damaged is not None:
        manifest.write_text(damaged)

    assert installation_checks.dbt_project().ok

    assert list(json.loads(manifest.read_text())["nodes"]) == ["model.tiny.one"]
    assert [path.name for path in manifest.parent.parent.iterdir()] == [manifest.parent.name]


def test_what_a_killed_parse_left_is_swept_a_day_later(project: Path) -> None:
    store = settings().home / "dbt"
    for name, hours in [(".parsing-killed", 25), (".parsing-running", 1)]:
        (store / name).mkdir(parents=True)
        (store / name / "dbt.log").touch()
        then = time.time() - hours * 3600
        os.utime(store / name, (then, then))

    found = dbt_manifest.prepared(project)

    assert {path.name for path in store.iterdir()} == {".parsing-running", found.name}
