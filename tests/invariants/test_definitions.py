"""What exists here: a graph whose every change is seen in review, and that loads lightly.

After an intended change, write the snapshot anew and look at its diff:
`UPDATE_SNAPSHOTS=1 .venv/bin/python -m pytest tests/invariants/test_definitions.py`
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mlops_assets.settings import ROOT

SNAPSHOT = Path(__file__).with_name("asset_graph.json")

HEAVY = [
    "duckdb",
    "evidently",
    "feast",
    "kubernetes",
    "lakefs",
    "matplotlib",
    "mlflow",
    "pandas",
    "pandera",
    "pyarrow",
    "pyspark",
    "sklearn",
    "uvicorn",
    "xgboost",
]


def test_the_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    found = json.dumps(described(definitions), indent=2) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(found)
    assert found == SNAPSHOT.read_text(), "see this module's docstring"


def described(definitions: dg.Definitions) -> dict[str, object]:
    """Each asset with its group, partitions, dependencies and checks."""
    graph = definitions.resolve_asset_graph()
    checks: dict[dg.AssetKey, list[str]] = {}
    for check in graph.asset_check_keys:
        checks.setdefault(check.asset_key, []).append(check.name)
    return {
        key.to_user_string(): {
            "group": node.group_name,
            "partitions": str(node.partitions_def) if node.partitions_def else None,
            "depends on": {
                parent.to_user_string(): _mapping(graph.get_partition_mapping(key, parent))
                for parent in sorted(node.parent_keys)
            },
            "checks": sorted(checks.get(key, [])),
        }
        for key in sorted(graph.get_all_asset_keys())
        for node in [graph.get(key)]
    }


def _mapping(mapping: dg.PartitionMapping) -> str:
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        first, last = mapping.start_offset, mapping.end_offset
        return f"windows {first} to {last}" if first or last else "the same time"
    return type(mapping).__name__


def test_every_asset_says_what_it_is_and_who_answers_for_it(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.is_materializable, key
        assert node.owners, key
        assert node.kinds, key
        assert node.description, key
        assert node.group_name not in (None, "default"), key
        assert node.code_version, key


def test_every_partitioned_asset_takes_a_range_in_one_run_unless_its_parts_are_trained_apart(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition):
            assert node.backfill_policy == dg.BackfillPolicy.single_run(), key


def test_the_definitions_are_valid(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_dagster_and_dg_load_the_same_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    [location] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["module_name"] == project["code_location_target_module"]


@pytest.mark.usefixtures("definitions")
def test_loading_the_definitions_imports_no_heavy_library(parsed_home: Path) -> None:
    script = (
        "import sys; from mlops_assets.definitions import defs; defs(); "
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MLOPS_HOME": str(parsed_home)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.split() == []
