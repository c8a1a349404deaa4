"""dbt tests over what is published, as it lies side by side.

A step's tests hold for what it built from its pin. Branches merge by partition, and what is then on
the base branch together no step has seen: a flight in two days breaks the key of the table, and
neither day by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from dagster_dbt.asset_utils import get_upstream_unique_ids

from mlops_assets.components import dbt_build, publishing
from mlops_assets.engines import duckdb as engine
from mlops_assets.engines.schemas import Since
from mlops_assets.lake import Lake, Snapshot
from mlops_assets.lake.connection import WORK_PREFIX

DATABASE = "warehouse.duckdb"
"""dbt parsed its models into the database of that name."""
UNIQUE_ID = "dagster_dbt/unique_id"
"""By what dagster-dbt's specs name the dbt model that an asset is."""

KeyOf = Callable[[Mapping[str, Any]], dg.AssetKey]
"""The asset key of a model or source of dbt."""


def run(
    lake: Lake,
    prepared: Path,
    manifest: Mapping[str, Any],
    tests: Sequence[Mapping[str, Any]],
    key_of: KeyOf,
    since_of: Callable[[dg.AssetKey], Since],
) -> dbt_build.BuildOutcome:
    """Run tests on all that a base branch holds of the tables that they read.

    Args:
        lake: The lake.
        prepared: The folder with the dbt project's files and parsed state.
        manifest: The content of its `manifest.json`.
        tests: The tests, as the manifest has them.
        key_of: Names the assets.
        since_of: Says which of an asset's columns are younger than some of its partitions.

    Raises:
        MissingPartitionError: It holds nothing of a table that a test reads.
        SchemaError: The days of a table that a test reads have different schemas.
    """
    lake.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=lake.scratch, prefix=f"{WORK_PREFIX}tests-") as scratch:
        database = Path(scratch) / DATABASE
        days = _show(lake.snapshot(), manifest, tests, (key_of, since_of), database)
        return dbt_build.test(
            prepared,
            tests,
            database,
            {"first_day": min(days), "last_day": max(days), "lake_root": scratch},
        )


def _show(
    snapshot: Snapshot,
    manifest: Mapping[str, Any],
    tests: Sequence[Mapping[str, Any]],
    known: tuple[KeyOf, Callable[[dg.AssetKey], Since]],
    database: Path,
) -> set[str]:
    """Make a view of each table that tests read; returns the days that they hold."""
    key_of, since_of = known
    nodes = {**manifest["nodes"], **manifest["sources"]}
    read = {name for test in tests for name in get_upstream_unique_ids(manifest, test)}
    days = set()
    with engine.connect(database) as connection:
        for unique_id in sorted(read):
            asset = key_of(nodes[unique_id])
            table, since = publishing.table_name(asset), since_of(asset)
            schema, name = nodes[unique_id]["schema"], nodes[unique_id]["name"]
            engine.create_view(connection, snapshot, table, schema=schema, name=name, since=since)
            days |= {
                value
                for partition in snapshot.stored(table)
                for dimension, value in partition.values
                if dimension == publishing.DIMENSION[dg.DailyPartitionsDefinition]
            }
    return days


def tests_of(graph: dg.AssetGraph, lake: Lake) -> set[dg.AssetCheckKey]:
    """The dbt tests that can be run on what a lake's base branch holds of warehouses.

    Args:
        graph: The assets.
        lake: The lake. A test that reads a table of which it holds nothing is left out.
    """
    snapshot = lake.snapshot()
    held = {
        asset: bool(snapshot.stored(publishing.table_name(asset)))
        for asset in graph.materializable_asset_keys
    }
    return {
        key
        for key in graph.asset_check_keys
        if UNIQUE_ID in graph.get(key.asset_key).metadata
        and all(held.get(asset, True) for asset in _read_by(graph, key))
    }


def _read_by(graph: dg.AssetGraph, check: dg.AssetCheckKey) -> set[dg.AssetKey]:
    spec = graph.get(check.asset_key).assets_def.get_spec_for_check_key(check)
    return {check.asset_key, *(dep.asset_key for dep in spec.additional_deps)}
