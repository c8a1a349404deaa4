"""What changes an asset's code version: all that decides its bytes, and nothing else."""

import ast
import copy
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
import yaml
from dagster_dbt import DbtProject

from mlops_assets.components import code_version as code_versions
from mlops_assets.components import dbt_manifest
from mlops_assets.components.code_version import code_version
from mlops_assets.components.dbt_code_version import ProjectCode
from mlops_assets.components.dbt_translator import WarehouseTranslator
from mlops_assets.components.environment import environment
from mlops_assets.components.ml_problem import MlProblem
from mlops_assets.components.raw_table import raw_table
from mlops_assets.defs.raw.contracts import AIRLINES
from mlops_assets.settings import ROOT, settings

COMPONENTS = "mlops_assets.components"
DECLARATION = ROOT / "mlops_assets/defs/flight_delay/defs.yaml"
LAKE_TABLE = "macro.mlops_assets.materialization_lake_table_duckdb"
MANIFEST = dict[str, Any]


@pytest.fixture
def manifest(parsed_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MANIFEST]:
    """The project's manifest, a copy for the test to change."""
    monkeypatch.setenv("MLOPS_HOME", str(parsed_home))
    settings.cache_clear()
    yield copy.deepcopy(dict(dbt_manifest.load(ROOT / "dbt_project")))
    settings.cache_clear()


def model_versions(manifest: MANIFEST, profiles: str = "") -> dict[str, str | None]:
    translator = WarehouseTranslator("team:a", ProjectCode(manifest, profiles))
    project = DbtProject(ROOT / "dbt_project")
    return {
        node["name"]: translator.get_asset_spec(manifest, unique_id, project).code_version
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
    }


def changed(before: dict[str, str | None], after: dict[str, str | None]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_a_look_back_changes_the_code_version_of_its_own_view(manifest: MANIFEST) -> None:
    before = model_versions(manifest)
    view = manifest["nodes"]["model.mlops_assets.route_history"]
    view["config"]["meta"]["feature_view"]["look_back_days"] += 1
    assert changed(before, model_versions(manifest)) == {"route_history"}


OF_FEATURES = ("monitor_drift", "monitor_quality", "monitor_freshness")
MONITORS = (*OF_FEATURES, "monitor_performance", "monitor_concept")


@pytest.mark.parametrize("macro", [LAKE_TABLE, "macro.mlops_assets.lake_files"])
def test_what_writes_the_files_changes_the_code_version_of_every_model(
    manifest: MANIFEST, macro: str
) -> None:
    before = model_versions(manifest)
    manifest["macros"][macro]["macro_sql"] += "-- "
    assert changed(before, model_versions(manifest)) == set(before)


def test_a_macro_changes_the_code_versions_of_those_who_call_it(manifest: MANIFEST) -> None:
    before = model_versions(manifest)
    manifest["macros"]["macro.mlops_assets.outcome_history"]["macro_sql"] += "-- "
    assert changed(before, model_versions(manifest)) == {
        "aircraft_history",
        "carrier_history",
        "destination_history",
        "flight_number_history",
        "origin_history",
        "route_history",
    }


def test_the_profiles_change_the_code_version_of_every_model(manifest: MANIFEST) -> None:
    before = model_versions(manifest)
    assert changed(before, model_versions(manifest, "threads: 1")) == set(before)


def problem_versions(**declared: Any) -> dict[str, str | None]:
    attributes = yaml.safe_load(DECLARATION.read_text())["attributes"]
    spine = attributes["spine"] | declared.pop("spine", {})
    problem = MlProblem.model_validate({**attributes, "spine": spine, **declared})
    context = cast("dg.ComponentLoadContext", SimpleNamespace(project_root=ROOT))
    return {
        key.path[-1]: asset.code_versions_by_key[key]
        for asset in problem.build_defs(context).assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
    }


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize(
    ("declared", "assets"),
    [
        ({"baseline": ["carrier"]}, {"evaluation_report"}),
        ({"gates": {}}, {"evaluation_report"}),
        ({"costs": {"false_alarm": 1, "miss": 1}}, {"evaluation_report"}),
        ({"slices": ["carrier", "flight_date"]}, {"evaluation_report"}),
        ({"estimator": {"seed": 1}}, {"model", "champion"}),
        ({"estimator": {"seed": 2013, "rounds": 7}}, {"model"}),
        (
            {"spine": {"features": ["carrier", "scheduled_departure_hour"]}},
            {"training_set", "model", "predictions", *MONITORS},
        ),
        (
            {"feature_views": ["calendar"], "optional_views": []},
            {"training_set", "model", "predictions", *OF_FEATURES},
        ),
        ({"optional_views": []}, {"training_set", "predictions"}),
        (
            {"spine": {"label": "is_cancelled"}},
            {"training_set", "model", "evaluation_report", "champion", "predictions", *MONITORS},
        ),
        ({"monitors": {"slices": ["carrier"], "outcomes": []}}, set(MONITORS)),
        ({"owner": "team:b", "description": "b"}, set()),
    ],
)
def test_a_declaration_changes_the_code_versions_of_what_it_decides(
    declared: dict[str, Any], assets: set[str]
) -> None:
    assert changed(problem_versions(), problem_versions(**declared)) == assets


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a module's source look edited."""

    def edit(module: str) -> None:
        read = code_versions._source  # editing the real file is no option
        monkeypatch.setattr(
            code_versions, "_source", lambda name: "edited" if name == module else read(name)
        )

    return edit


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize(
    ("module", "assets"),
    [
        ("evaluation_report", {"evaluation_report"}),
        ("champion", {"champion"}),
        ("problem_assets", {"model", "evaluation_report", "champion"}),
        ("training_set", {"training_set", "model", "evaluation_report", "champion", "predictions"}),
        ("deployment", {"deployed_model"}),
        ("predictions", {"predictions"}),
        ("partition_files", {"predictions"}),
        ("monitored_days", set(MONITORS)),
    ],
)
def test_a_module_changes_the_code_versions_of_what_it_makes(
    edited: Callable[[str], None], module: str, assets: set[str]
) -> None:
    before = problem_versions()
    edited(f"{COMPONENTS}.{module}")
    assert changed(before, problem_versions()) == assets


def imported_by_monitors() -> set[str]:
    """The modules of `ml` that what makes a monitor's report imports."""
    package = ROOT / "mlops_assets"
    files = [
        *(package / "monitors").glob("*.py"),
        *(package / f"components/{name}.py" for name in ("monitored_days", "monitoring")),
    ]
    return {
        node.module
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        if node.module.startswith("mlops_assets.ml.")
    }


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("module", sorted(imported_by_monitors()))
def test_whatever_a_monitor_is_made_with_changes_its_code_version(
    edited: Callable[[str], None], module: str
) -> None:
    before = problem_versions()
    edited(module)
    assert changed(before, problem_versions()) >= set(MONITORS)


@pytest.mark.parametrize(
    "module",
    [
        *(f"{COMPONENTS}.{name}" for name in ("contract", "partition_files", "quarantine")),
        f"{COMPONENTS}.raw_table",
        *(
            f"mlops_assets.sources.{name}"
            for name in ("csv_file", "database", "landing", "monthly")
        ),
    ],
)
def test_whatever_decides_a_raw_tables_files_changes_its_code_version(
    edited: Callable[[str], None], module: str
) -> None:
    def version() -> str | None:
        table = raw_table(
            AIRLINES,
            lambda: pytest.fail("nothing is read for a code version"),
            description="Airlines.",
            owner="team:a",
            code="mlops_assets.defs.raw",
        )
        return table.code_versions_by_key[dg.AssetKey(["raw", "airlines"])]

    before = version()
    edited(module)
    assert version() != before


def test_every_file_of_a_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "styled").mkdir()
    (tmp_path / "styled/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    seen = set()
    for style in ("a {}", "b {}"):
        (tmp_path / "styled/report.css").write_text(style)
        code_versions._source.cache_clear()  # a process sees one state of the files
        seen.add(code_version("styled"))
    assert len(seen) == 2


@pytest.mark.parametrize("change", ["edited", "removed", "imported before"])
def test_a_module_that_is_edited_before_its_first_import_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    module = tmp_path / "imported_late.py"
    module.write_text("answer = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_versions, "_counted", {})
    code_versions._source.cache_clear()
    code_version("imported_late")
    assert code_versions.edited_since() == []
    if change == "imported before":
        monkeypatch.setitem(sys.modules, "imported_late", importlib.import_module("imported_late"))
    module.unlink() if change == "removed" else module.write_text("answer = 2\n")
    assert code_versions.edited_since() == ([] if change == "imported before" else [module])


def test_a_module_that_is_missing_has_no_code_version() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module 'mlops_assets\.gone'"):
        code_version("mlops_assets.gone")


def test_what_makes_a_reports_bytes_is_recorded_with_it() -> None:
    assert {"environment/matplotlib", "environment/numpy"} <= environment().keys()


def test_every_code_version_is_the_same_in_every_process(parsed_home: Path) -> None:
    """One that is not has automation make the whole asset anew whenever the code is loaded."""
    script = (
        "from mlops_assets.definitions import defs; graph = defs().resolve_asset_graph(); "
        "print(*sorted((key.to_user_string(), graph.get(key).code_version) "
        "for key in graph.get_all_asset_keys()), sep='\\n')"
    )
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "MLOPS_HOME": str(parsed_home), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
