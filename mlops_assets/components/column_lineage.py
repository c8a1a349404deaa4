"""Column lineage of the assets: what their newest materializations say of it, and how it is read.

Recorded in Dagster's own form, which catalogs read and its open-source UI keeps to itself; so each
asset shows a table of it too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from mlops_assets.components.sql_lineage import ROWS, Column, Columns, Lineage, common, origins

STANDARD = "dagster/column_lineage"
SHOWN = "column lineage"

HEAD = """\
What every column depends on, if only because it decides which rows there are, is said once.

| column | reads | goes back to |
| --- | --- | --- |"""


def metadata(
    instance: dg.DagsterInstance, lineage: Lineage
) -> dict[dg.AssetKey, dict[str, dg.MetadataValue[Any]]]:
    """What the materializations of tables are to say of their columns.

    Args:
        instance: Whose record tells the lineage of the tables upstream.
        lineage: Of the tables.
    """
    upstream = {
        dep.table for columns in lineage.values() for deps in columns.values() for dep in deps
    }
    known = {**recorded(instance, upstream - lineage.keys()), **lineage}
    return {
        dg.AssetKey(table.split("/")): {
            STANDARD: dg.MetadataValue.column_lineage(_standard(columns)),
            SHOWN: dg.MetadataValue.md(_shown(table, known)),
        }
        for table, columns in lineage.items()
    }


def recorded(instance: dg.DagsterInstance, tables: Iterable[str]) -> Lineage:
    """The lineage of tables and of all upstream of them, as their newest materializations say.

    A table that no query made has none.
    """
    found: dict[str, Mapping[str, Columns]] = {}
    left = set(tables)
    while left:
        table = left.pop()
        found[table] = _recorded(instance, table)
        left |= {dep.table for deps in found[table].values() for dep in deps} - found.keys()
    return {table: columns for table, columns in found.items() if columns}


def _recorded(instance: dg.DagsterInstance, table: str) -> Mapping[str, Columns]:
    event = instance.get_latest_materialization_event(dg.AssetKey(table.split("/")))
    materialization = event.asset_materialization if event else None
    value = materialization.metadata.get(STANDARD) if materialization else None
    if not isinstance(value, dg.TableColumnLineageMetadataValue):
        return {}
    deps_by_column = value.column_lineage.deps_by_column
    return {column: _columns(deps) for column, deps in deps_by_column.items()}


def _columns(deps: Sequence[dg.TableColumnDep]) -> Columns:
    """The columns that are named, and the rows of their tables, which go without saying."""
    named = {Column("/".join(dep.asset_key.path), dep.column_name) for dep in deps}
    return frozenset(named | {Column(table, ROWS) for table, _ in named})


def _standard(columns: Mapping[str, Columns]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=dg.AssetKey(table.split("/")), column_name=name)
                for table, names in _by_table(deps).items()
                for name in names
            ]
            for column, deps in columns.items()
        }
    )


def _by_table(columns: Columns) -> dict[str, list[str]]:
    """The columns of each table, in order; `ROWS` only where no column says more."""
    found: dict[str, list[str]] = defaultdict(list)
    for table, name in sorted(columns):
        found[table].append(name)
    return {
        table: [name for name in names if name != ROWS] or [ROWS] for table, names in found.items()
    }


def _shown(table: str, lineage: Lineage) -> str:
    """A table of a table's columns in Markdown: what each reads, and what that goes back to."""
    reads = lineage[table]
    raw = {column: origins(lineage, Column(table, column)) for column in reads}
    shared, shared_raw = common(reads), common(raw)
    rows = [("*every column*", shared, shared_raw)]
    rows += [(name, reads[name] - shared, raw[name] - shared_raw) for name in reads]
    lines = [f"| {name} | {_linked(deps)} | {_linked(ends)} |" for name, deps, ends in rows]
    return "\n".join([HEAD, *lines])


def _linked(columns: Columns) -> str:
    return "; ".join(
        f"[{table}](/assets/{table}): {', '.join(names).replace(ROWS, 'its rows')}"
        for table, names in _by_table(columns).items()
    )
