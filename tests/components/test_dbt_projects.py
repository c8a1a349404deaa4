"""dbt projects of all kinds: what changes a model's code version, and what is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.components import dbt_manifest
from mlops_assets.components.dbt_code_version import ProjectCode
from mlops_assets.components.dbt_support import refuse_unsupported
from mlops_assets.settings import settings

FILES = {
    "project/dbt_project.yml": (
        "name: tiny\nversion: 1.0.0\nprofile: tiny\nvars: {least: 1}\nfunction-paths: [functions]\n"
        "dispatch: [{macro_namespace: shared, search_order: [tiny, shared]}]\n"
        'on-run-start: ["{{ opening() }}"]\n'
        "models: {tiny: {+materialized: lake_table}}\n"
    ),
    "project/profiles.yml": "tiny: {target: a, outputs: {a: {type: duckdb, path: w.duckdb}}}\n",
    "project/packages.yml": (
        "packages: [{git: \"https://{{ env_var('DBT_ENV_SECRET_KEY') }}@h/shared\", revision: a}]"
    ),
    "project/models/plain.sql": "select 1 as n",
    "project/models/scaled.sql": "select {{ shared.scaled('1') }} as n",
    "project/models/dispatched.sql": "select {{ shared.halved('1') }} as n",
    "project/models/looked_up.sql": "select {{ context['tiny_named']() }} as n",
    "project/models/put_together.sql": (
        "select {{ adapter.dispatch('hal' ~ 'ved', 'shared')('1') }} as n"
    ),
    "project/models/described.sql": "select {{ model.columns | length }} as n",
    "project/models/surveyed.sql": "select {{ graph.nodes | length }} as n",
    "project/models/hooked.sql": '{{ config(post_hook="{{ closing() }}") }} select 1 as n',
    "project/models/between.sql": (
        "{{ config(materialized='ephemeral') }} select {{ doubled('1') }} as n"
    ),
    "project/models/child.sql": "select n from {{ ref('between') }}",
    "project/models/grandchild.sql": "select n from {{ ref('child') }}",
    "project/models/of_another_kind.sql": "{{ config(materialized='other_table') }} select 1 as n",
    "project/models/models.yml": (
        "models: [{name: plain, description: '{{ doc(\"plain\") }}',"
        " columns: [{name: n, data_tests: [odd]}]}]\n"
    ),
    "project/models/docs.md": "{% docs plain %}A number.{% enddocs %}",
    "project/macros/own.sql": (
        "{% macro doubled(n) %}{{ n }} * 2{% endmacro %}"
        "{% macro tiny_named() %}3{% endmacro %}"
        "{% macro opening() %}select 1{% endmacro %}"
        "{% macro closing() %}select 2{% endmacro %}"
        "{% macro duckdb__halved(n) %}{{ n }} / 2{% endmacro %}"
        "{% macro duckdb__get_columns_in_relation(relation) %}{{ return([]) }}{% endmacro %}"
        "{% test odd(model, column_name) %}select 1 where false{% endtest %}"
    ),
    "shared/dbt_project.yml": "name: shared\nversion: 1.0.0\nvars: {factor: 10}\n",
    "shared/macros/shared.sql": (
        "{% macro scaled(n) %}{{ n }} * {{ shared.factor() }}{% endmacro %}"
        "{% macro factor() %}{{ var('factor') }}{% endmacro %}"
        "{% macro halved(n) %}{{ return(adapter.dispatch('halved', 'shared')(n)) }}{% endmacro %}"
        "{% macro default__halved(n) %}{{ n }} * 0.5{% endmacro %}"
        "{% macro unused() %}{% endmacro %}"
        "{% materialization lake_table, adapter='duckdb' %}{{ shared.files() }}"
        "{% endmaterialization %}"
        "{% materialization other_table, default %}{% endmaterialization %}"
        "{% macro files() %}{% endmacro %}"
    ),
}
REFUSED = {
    "project/seeds/rates.csv": "n\n1\n",
    "project/snapshots/kept.sql": (
        "{% snapshot kept %}{{ config(unique_key='n', strategy='check', check_cols='all') }}"
        "select 1 as n{% endsnapshot %}"
    ),
    "project/models/grown.sql": "{{ config(materialized='incremental') }} select 1 as n",
    "project/models/shown.sql": "{{ config(materialized='view') }} select 1 as n",
    "project/models/computed.py": "def model(dbt, session):\n    return dbt.ref('plain')\n",
}


UNSUPPORTED = {Path(name).stem for name in REFUSED}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a local package, linked as `dbt deps` links it."""
    folder = tmp_path_factory.mktemp("projects")
    for name, text in {**FILES, **REFUSED}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "project/dbt_packages").mkdir()
    (folder / "project/dbt_packages/shared").symlink_to(folder / "shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(folder / "home"))
        settings.cache_clear()
        dbt_manifest.load(folder / "project")
        prepared = dbt_manifest.prepared(folder / "project")
    settings.cache_clear()
    return dbt_manifest.sources(prepared)


@pytest.fixture
def manifest(project: Path) -> dict[str, Any]:
    """What dbt parsed of the project, a copy for the test to change."""
    content = dbt_manifest._content(project.parent)
    assert content is not None
    return copy.deepcopy(dict(content))


Manifest = dict[str, Any]
ALL = {
    *("plain", "scaled", "dispatched", "looked_up", "hooked"),
    *("child", "grandchild", "of_another_kind"),
    *("put_together", "described", "surveyed"),
}


def versions(manifest: Manifest, project: Path) -> dict[str, str]:
    code = ProjectCode.of(manifest, project)
    return {name: code.version(manifest["nodes"][f"model.tiny.{name}"]) for name in ALL}


def changed(manifest: Manifest, project: Path, change: Callable[[Manifest], object]) -> set[str]:
    before = versions(manifest, project)
    change(manifest)
    after = versions(manifest, project)
    return {name for name in ALL if before[name] != after[name]}


@pytest.mark.parametrize(
    ("macro", "models"),
    [
        ("shared.scaled", {"scaled"}),
        ("shared.factor", {"scaled"}),
        ("shared.halved", {"dispatched"}),
        ("shared.default__halved", {"dispatched"}),
        ("tiny.duckdb__halved", {"dispatched"}),
        ("tiny.tiny_named", {"looked_up"}),
        ("tiny.closing", {"hooked"}),
        ("tiny.doubled", {"child"}),
        ("tiny.opening", ALL),
        ("tiny.duckdb__get_columns_in_relation", ALL),
        ("shared.materialization_lake_table_duckdb", ALL - {"of_another_kind"}),
        ("shared.files", ALL - {"of_another_kind"}),
        ("shared.materialization_other_table_default", {"of_another_kind"}),
        ("shared.unused", set()),
        ("tiny.test_odd", set()),
    ],
)
def test_a_macro_of_any_package_changes_the_models_whose_rows_it_makes(
    manifest: Manifest, project: Path, macro: str, models: set[str]
) -> None:
    def edit(manifest: Manifest) -> None:
        manifest["macros"][f"macro.{macro}"]["macro_sql"] += "-- "

    # A name that is put together could be that of any macro.
    assert changed(manifest, project, edit) == models | {"put_together"}


def config(name: str, value: object) -> Callable[[Manifest], None]:
    def edit(manifest: Manifest) -> None:
        manifest["nodes"]["model.tiny.plain"]["config"][name] = value

    return edit


def ephemeral_parent(manifest: Manifest) -> None:
    manifest["nodes"]["model.tiny.between"]["raw_code"] += " where true"


def another_column(manifest: Manifest) -> None:
    manifest["nodes"]["model.tiny.described"]["columns"]["m"] = {"name": "m"}


def hook_of_the_project(manifest: Manifest) -> None:
    manifest["nodes"]["operation.tiny.tiny-on-run-start-0"]["raw_code"] += " union select 2"


@pytest.mark.parametrize(
    ("change", "models"),
    [
        (ephemeral_parent, {"child"}),
        (hook_of_the_project, ALL),
        (config("sql_header", "set threads = 1"), {"plain"}),
        (config("a_macros_own", 7), {"plain"}),
        (config("meta", {"grain": "hour"}), {"plain"}),
        (config("tags", ["nightly"]), set()),
        (config("docs", {"show": False}), set()),
        (another_column, {"described"}),
    ],
)
def test_what_makes_rows_beside_a_models_text_changes_its_code_version(
    manifest: Manifest, project: Path, change: Callable[[Manifest], None], models: set[str]
) -> None:
    # `graph` shows the declarations of all models to one that reads it.
    assert changed(manifest, project, change) == models | {"surveyed"}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("dbt_project.yml", "least: 1", "least: 2"),
        ("dbt_project.yml", "[tiny, shared]", "[shared, tiny]"),
        ("dbt_packages/shared/dbt_project.yml", "factor: 10", "factor: 11"),
    ],
)
def test_what_a_project_settles_for_all_changes_every_code_version(
    manifest: Manifest, project: Path, file: str, old: str, new: str
) -> None:
    before = (project / file).read_text()

    def edit(_: Manifest) -> None:
        (project / file).write_text(before.replace(old, new))

    try:
        assert changed(manifest, project, edit) == ALL
    finally:
        (project / file).write_text(before)


def test_a_linked_package_is_part_of_the_project_as_it_was_loaded(project: Path) -> None:
    packages = project / "dbt_packages"
    assert not (packages / "shared").is_symlink()
    assert (packages / "shared/macros/shared.sql").is_file()


@pytest.mark.parametrize(
    ("unique_id", "sentence"),
    [
        ("seed.tiny.rates", "project/seeds/rates.csv: the seed rates is not supported; load its "),
        ("snapshot.tiny.kept", "project/snapshots/kept.sql: the snapshot kept is not supported"),
        ("model.tiny.grown", "project/models/grown.sql: the model grown is materialized as 'incr"),
        ("model.tiny.shown", "project/models/shown.sql: the model shown is materialized as 'view"),
        ("model.tiny.computed", "project/models/computed.py: the model computed is not SQL"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name_when_definitions_load(
    manifest: Manifest, project: Path, unique_id: str, sentence: str
) -> None:
    for name in [name for name in manifest["nodes"] if name.split(".")[2] in UNSUPPORTED]:
        if name != unique_id:
            del manifest["nodes"][name]
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=sentence):
        refuse_unsupported(manifest, project, "project")
    del manifest["nodes"][unique_id]
    refuse_unsupported(manifest, project, "project")


@pytest.mark.parametrize(
    ("text", "made_up"),
    [
        ("{{ adapter.dispatch( \"halved\" , macro_namespace = 'shared' )(1) }}", False),
        ("{{ context.get('scaled')(1) }} {{ shared.scaled(1) }} {{ shared['scaled'](1) }}", False),
        ("select shared, context from dispatch {# context #}", False),
        ("{{ adapter.dispatch(name, 'shared')(1) }}", True),
        ("{% set by_name = adapter.dispatch %}", True),
        ("{{ context['sca' ~ 'led'](1) }}", True),
        ("{{ context.get(var('name'))(1) }}", True),
        ("{% for name, macro in context.items() %}{% endfor %}", True),
        ("{% set package = shared %}", True),
        ("{{ (shared | attr('sca' ~ 'led'))(1) }}", True),
        ("{{ render(var('text')) }}", True),
    ],
)
def test_a_call_by_a_name_that_is_not_written_counts_every_macro(
    manifest: Manifest, project: Path, text: str, made_up: bool
) -> None:
    manifest["nodes"]["model.tiny.plain"]["raw_code"] = text

    def edit(manifest: Manifest) -> None:
        manifest["macros"]["macro.shared.unused"]["macro_sql"] += "-- "

    assert ("plain" in changed(manifest, project, edit)) == made_up


def node_of_plain(**values: object) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["nodes"]["model.tiny.plain"].update(values)


def reading_nothing_built(manifest: Manifest) -> None:
    [test] = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    test["depends_on"]["nodes"] = ["model.tiny.between", "source.tiny.raw.days"]


def source(**values: object) -> Callable[[Manifest], None]:
    told = {"source_name": "raw", "name": "days", "identifier": "days"}
    place = {"original_file_path": "models/raw.yml"}
    return lambda manifest: manifest["sources"].update({"source": {**told, **place, **values}})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (node_of_plain(alias="other"), "project/models/plain.sql: the model plain has the alias"),
        (config("contract", {"enforced": True}), "the contract of the model plain would not be"),
        (reading_nothing_built, "project/models/models.yml: no build would run the test odd_plain"),
        (source(meta={"external_location": "x"}), "project/models/raw.yml: 'external_location' of"),
        (source(config={"meta": {"plugin": "x"}}), "'plugin' of the source raw.days is not"),
        (source(identifier="x"), "project/models/raw.yml: the source raw.days has the identifier"),
    ],
)
def test_what_would_be_read_named_or_checked_otherwise_than_declared_is_refused(
    manifest: Manifest, project: Path, change: Callable[[Manifest], None], sentence: str
) -> None:
    for name in [name for name in manifest["nodes"] if name.split(".")[2] in UNSUPPORTED]:
        del manifest["nodes"][name]
    refuse_unsupported(manifest, project, "project")
    change(manifest)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=sentence):
        refuse_unsupported(manifest, project, "project")


@pytest.mark.parametrize("key", ["plugins", "module_paths", "attach", "filesystems"])
def test_a_profile_that_brings_code_or_data_from_elsewhere_is_refused(
    tmp_path: Path, key: str
) -> None:
    (tmp_path / "profiles.yml").write_text(
        f"tiny: {{target: a, outputs: {{a: {{type: duckdb, {key}: [{{a: b}}]}}}}}}"
    )
    metadata = {"adapter_type": "duckdb"}
    empty = {"metadata": metadata, "macros": {}, "nodes": {}, "sources": {}}
    with pytest.raises(
        dg.DagsterInvalidDefinitionError, match=rf"profiles.yml: '{key}' of tiny\.a is not"
    ):
        refuse_unsupported(empty, tmp_path, "project")
