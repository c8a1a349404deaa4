"""A state directory may have any name that its libraries take; another is refused at the start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from dotenv import dotenv_values
from installation import open_lake
from lake_tables import FIRST
from test_views import publish_rows

from mlops_assets.cli.program import exit_code
from mlops_assets.engines.duckdb import create_view
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.settings import ROOT, SettingsError, settings
from mlops_assets.tracking.connection import Registry


@pytest.mark.parametrize(
    ("name", "neighbour"),
    [
        ("home*", "homes"),
        ("home?", "home1"),
        ("home[12]", "home1"),
        ("**", "other"),
        ('it\'s a "home" %;$ü#', "its"),
    ],
)
def test_a_view_reads_its_own_files_whatever_their_folder_is_called(
    tmp_path: Path, name: str, neighbour: str
) -> None:
    home = tmp_path / name
    with EmbeddedServer(home / "lakefs") as endpoint:
        lake = open_lake(endpoint, home / "scratch")
        publish_rows(lake, "tx-a", {FIRST: pa.table({"n": [1, 2]})})
        shutil.copytree(home / "lakefs", tmp_path / neighbour / "lakefs")
        with duckdb.connect() as connection:
            create_view(connection, lake.snapshot(), "raw/flights", schema="raw", name="flights")
            rows = connection.execute("from raw.flights order by n").fetchall()
    assert rows == [(1,), (2,)]


def test_the_registry_lies_in_its_folder_whatever_that_is_called(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "home" [x]*#%;$ü\\{{ x }}'
    with Registry(None, folder).opened() as client:
        client.create_experiment("toy")
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "mlflow.db"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("variable", "name", "held"),
    [
        ("MLOPS_HOME", "what?", "'?'"),
        ("MLOPS_HOME", "100%25", "'%25'"),
        ("MLOPS_HOME", "nr#1", "'#'"),
        ("MLOPS_HOME", "back\\slash[1]", "'\\\\'"),
        ("MLOPS_HOME", "a{{ template }}", "'{{'"),
        ("MLOPS_HOME", "two\nlines", "'\\n'"),
        ("MLOPS_HOME", os.fsdecode(b"latin-\xfc"), "'\\udcfc'"),
        ("DAGSTER_HOME", "what?", "'?'"),
        ("DAGSTER_HOME", "100%3F", "'%3F'"),
    ],
)
def test_a_path_that_a_library_cannot_take_is_refused_before_anything_is_made_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    name: str,
    held: str,
) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, str(tmp_path / name))
    settings.cache_clear()
    assert exit_code(["metrics"]) == 1
    settings.cache_clear()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mlops-assets: {variable} is ")
    assert f"because of {held} in it" in line
    assert list(tmp_path.iterdir()) == []


def test_a_relative_home_is_refused_for_the_folder_that_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "nr#1").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLOPS_HOME", "state")
    settings.cache_clear()
    with pytest.raises(SettingsError, match=re.escape(f"MLOPS_HOME is '{folder}/state'")):
        settings()
    settings.cache_clear()


def test_dagster_reads_from_the_env_file_of_make_what_make_was_given(tmp_path: Path) -> None:
    folder = tmp_path / "a repository's #1"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    home = 'it\'s ${HOME} $(pwd) `pwd` \\ # "x" \nü'
    unset = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    subprocess.run(["make", ".env"], cwd=folder, env={**unset, "MLOPS_HOME": home}, check=True)
    found = dotenv_values(folder / ".env")
    assert found["MLOPS_HOME"] == str(folder / home)
    assert found["DAGSTER_HOME"] == str(folder / home / "dagster")
