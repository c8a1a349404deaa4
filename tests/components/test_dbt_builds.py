"""What decides a dbt build: the project as it was loaded, and nothing else."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dagster as dg
import duckdb
import pytest

from mlops_assets.components import dbt_build, dbt_manifest, dbt_runner
from mlops_assets.components.dbt_build import BuildOutcome, NodeOutcome
from mlops_assets.settings import settings

PROJECT_FILE = """
name: tiny
version: 1.0.0
profile: tiny
vars: {least: 1}
models: {+materialized: table}
"""
PROFILES = """
tiny:
  target: right
  outputs:
    right: {type: duckdb, path: warehouse.duckdb}
    wrong: {type: duckdb, path: warehouse.duckdb, schema: elsewhere}
other:
  target: right
  outputs: {right: {type: duckdb, path: warehouse.duckdb, schema: elsewhere}}
"""
MODEL = """
select {{ env_var('DBT_ADDED', '0') }} + {{ env_var('ADDED', '0') }} + {{ scaled('n') }} as n,
    current_setting('TimeZone') as zone
from range(5) as numbers(n)
where n >= {{ var('least') }}
"""
TESTS = """
models:
  - name: one
    columns:
      - {name: n, data_tests: [unique, {accepted_values: {arguments: {values: [1, 2]}}}]}
      - {name: zone, data_tests: [not_null]}
"""
FILES = {
    "dbt_project.yml": PROJECT_FILE,
    "profiles.yml": PROFILES,
    "models/one.sql": MODEL,
    "models/one.yml": TESTS,
    "macros/scaled.sql": "{% macro scaled(n) %}{{ n }} * 1{% endmacro %}",
}
FAILING = "accepted_values_one_n__1__2"
HOSTILE = {
    "DBT_INDIRECT_SELECTION": "empty",
    "DBT_RESOURCE_TYPES": "model",
    "DBT_EXCLUDE_RESOURCE_TYPES": "test",
    "DBT_TARGET": "wrong",
    "DBT_PROFILE": "other",
    "DBT_EVENT_TIME_START": "2013-01-01",
    "DBT_EVENT_TIME_END": "2013-01-02",
    "DBT_SAMPLE": "1 day",
    "DBT_WARN_ERROR_OPTIONS": "{error: all}",
    "DBT_ENGINE_RECORDER_MODE": "replay",
}


def write(files: Mapping[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory and a project in it, parsed once for the tests of this module."""
    folder = tmp_path_factory.mktemp("parsed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(folder / "home"))
        settings.cache_clear()
        dbt_manifest.prepared(write(FILES, folder / "dbt_project"))
    settings.cache_clear()
    return folder


Building = Callable[[], tuple[BuildOutcome, list[tuple[Any, ...]]]]


@pytest.fixture
def building(parsed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Building]:
    """Builds the project's model, as it was loaded, and returns the outcome and its rows."""
    monkeypatch.setenv("MLOPS_HOME", str(parsed / "home"))
    settings.cache_clear()
    project = parsed / "dbt_project"
    manifest, prepared = dbt_manifest.load(project), dbt_manifest.prepared(project)

    def build() -> tuple[BuildOutcome, list[tuple[Any, ...]]]:
        # dbt's adapter keeps the database of a path open, as no step has two of one path.
        database = Path(mkdtemp(dir=tmp_path)) / "warehouse.duckdb"
        model = manifest["nodes"]["model.tiny.one"]
        outcome = dbt_build.build(manifest, prepared, [model], database, {})
        if not database.exists():
            return outcome, []
        with duckdb.connect(database) as connection:
            return outcome, connection.execute("select * from main.one order by n").fetchall()

    yield build
    settings.cache_clear()


ROWS = [(n, "UTC") for n in range(1, 5)]


def statuses(outcome: BuildOutcome) -> dict[str, str]:
    assert outcome.error is None
    return {node.unique_id.split(".")[2]: node.status for node in outcome.nodes}


CHECKED = {"one": "success", "unique_one_n": "pass", "not_null_one_zone": "pass", FAILING: "fail"}


def hostile(name: str) -> str:
    """The value of a variable that would do the most harm, by its name of old or of today."""
    return HOSTILE.get(name.replace("DBT_ENGINE_", "DBT_"), "true")


def variables_of_dbt() -> set[str]:
    """Every variable that dbt knows as its own, and every one that its source reads by name."""
    from dbt.env_vars import KNOWN_ENGINE_ENV_VARS

    known = {name for it in KNOWN_ENGINE_ENV_VARS for name in (it.name, it.old_name) if name}
    for package in ("dbt", "dbt_common", "dbt.adapters"):
        spec = find_spec(package)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for file in Path(folder).rglob("*.py"):
                if "tests" not in file.parts:
                    known |= set(re.findall(r'["\'](DBT_[A-Z_]*[A-Z])["\']', file.read_text()))
    return {*known, "DO_NOT_TRACK"}


def test_no_variable_of_dbts_own_reaches_a_build(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = variables_of_dbt()
    assert {"DBT_INDIRECT_SELECTION", "DBT_ENGINE_INDIRECT_SELECTION", "DBT_TARGET"} <= names
    for name in names:
        monkeypatch.setenv(name, hostile(name))

    outcome, rows = building()

    assert statuses(outcome) == CHECKED
    assert rows == ROWS


@pytest.mark.soak
def test_each_variable_of_dbts_own_by_itself_changes_no_build(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(**variables: str) -> tuple[list[NodeOutcome], list[tuple[Any, ...]]]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            outcome, rows = building()
        assert outcome.error is None, variables
        # Of a model dbt says how long it took.
        nodes = [replace(node, message="") for node in outcome.nodes]
        return sorted(nodes, key=lambda node: node.unique_id), rows

    plain = built()
    changed = [
        f"{name}={value}"
        for name in sorted(variables_of_dbt())
        for value in sorted({hostile(name), "true", "empty", ""})
        if built(**{name: value}) != plain
    ]
    assert changed == []


def test_nothing_that_a_project_asks_the_environment_for_is_found(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ADDED", "DBT_ADDED"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("TZ", "America/New_York")
    assert building()[1] == ROWS


def test_a_variable_without_a_default_is_refused_by_name_and_with_the_way_out(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAST", "1")
    files = {**FILES, "models/one.sql": "select {{ env_var('LEAST') }} as n, 1 as zone"}
    with pytest.raises(
        dg.DagsterInvalidDefinitionError, match=r"(?s)'LEAST'.* under `vars` in dbt_project\.yml"
    ):
        dbt_manifest.load(write(files, tmp_path / "dbt_project"))


def test_a_users_home_and_working_directory_decide_nothing(
    building: Building, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = "flags: {indirect_selection: empty, fail_fast: true}\n"
    hostile = {
        "profiles.yml": f"config: {{indirect_selection: empty}}\n{PROFILES}".replace(
            "target: right", "target: wrong"
        ),
        "dbt_cloud.yml": "version: '1'\ncontext: {active-project: '1'}\n",
        ".user.yml": "id: 1\n",
        "dbt_project.yml": PROJECT_FILE.replace("least: 1", "least: 4") + flags,
        "vars.yml": "vars: {least: 4}\n",
        ".env": "DBT_INDIRECT_SELECTION=empty\n",
    }
    write(hostile, tmp_path / "user/.dbt")
    write({".duckdbrc": "set TimeZone = 'America/New_York';\n"}, tmp_path / "user")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.chdir(write(hostile, tmp_path / "working"))

    outcome, rows = building()

    assert statuses(outcome) == CHECKED
    assert rows == ROWS


@pytest.mark.parametrize("selection", ["empty", "cautious"])
def test_a_test_that_dbt_passes_over_keeps_a_build_from_being_taken_as_good(
    building: Building, monkeypatch: pytest.MonkeyPatch, selection: str
) -> None:
    chosen = ["--select", "one", "--indirect-selection", selection]
    if selection == "cautious":
        chosen = ["--select", "one", "unique_one_n", "--indirect-selection", "empty"]
    monkeypatch.setattr(dbt_runner, "selecting", lambda _: chosen)

    outcome, _ = building()

    assert outcome.failures == []
    assert not outcome.succeeded
    assert f"test.tiny.{FAILING}" in outcome.reason
    assert ("unique_one_n" in outcome.reason) == (selection == "empty")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("models/one.sql", "select 100 as n, 'edited' as zone"),
        ("models/one.yml", "models: [{name: one}]"),
        ("macros/scaled.sql", "{% macro scaled(n) %}{{ n }} * 100{% endmacro %}"),
        ("dbt_project.yml", PROJECT_FILE.replace("least: 1", "least: 4")),
        ("profiles.yml", PROFILES.replace("target: right", "target: wrong")),
        ("models/one.sql", None),
    ],
)
def test_an_edit_after_the_project_was_loaded_changes_no_build(
    building: Building, parsed: Path, file: str, text: str | None
) -> None:
    edited = parsed / "dbt_project" / file
    before = edited.read_text()
    try:
        edited.unlink() if text is None else edited.write_text(text)
        outcome, rows = building()
    finally:
        edited.write_text(before)
    assert statuses(outcome) == CHECKED
    assert rows == ROWS


def test_a_project_that_was_edited_is_what_it_was_also_where_its_copy_is_gone(
    building: Building, parsed: Path
) -> None:
    edited = parsed / "dbt_project/models/one.sql"
    prepared = dbt_manifest.prepared(parsed / "dbt_project")
    try:
        edited.write_text("select 100 as n, 'edited' as zone")
        shutil.rmtree(prepared)
        assert dbt_manifest.prepared(parsed / "dbt_project") == prepared
        assert building()[1] == ROWS
    finally:
        edited.write_text(MODEL)


@pytest.mark.parametrize("folder", ["../shared", "/shared"])
def test_a_project_that_reads_a_folder_outside_of_it_is_refused(
    home: Path, tmp_path: Path, folder: str
) -> None:
    files = {**FILES, "dbt_project.yml": f"{PROJECT_FILE}model-paths: [models, {folder}]\n"}
    with pytest.raises(
        dg.DagsterInvalidDefinitionError,
        match=rf"dbt_project/dbt_project\.yml: model-paths names {folder}, which is outside",
    ):
        dbt_manifest.load(write(files, tmp_path / "dbt_project"))
