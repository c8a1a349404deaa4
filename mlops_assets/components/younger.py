"""From which day on the columns of a table exist: declared with the table, known to its readers.

A column that is younger than a partition reads as null there. Any other difference of schemas is
refused where partitions are read together (`engines/schemas.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from mlops_assets.engines.schemas import QUARANTINE, Since

METADATA = "since"
"""The entry of an asset's metadata, and of a commit's parameters, that holds the days."""


def since_of(graph: dg.AssetGraph, table: str) -> Since:
    """What is declared of a table of the lake; nothing of one that no asset makes."""
    asset = dg.AssetKey(table.removesuffix(QUARANTINE).split("/"))
    found: Mapping[str, Any] = graph.get(asset).metadata if graph.has(asset) else {}
    since: Since = found.get(METADATA, {})
    return since


def metadata(since: Mapping[str, Any]) -> dict[str, Any]:
    """What an asset, or a commit, says of columns' first days; nothing where there are none."""
    return {METADATA: dict(since)} if since else {}


def declared(name: str, day: object, place: str) -> str:
    """The first day of a column as it was declared, checked.

    Args:
        name: The column.
        day: What is written as its first day.
        place: Where, for the sentence.

    Raises:
        dagster.DagsterInvalidDefinitionError: It is no day.
    """
    try:
        return date.fromisoformat(str(day)).isoformat()
    except ValueError as error:
        raise dg.DagsterInvalidDefinitionError(
            f"{place}: {name} has since: {day}, which is no day: write the first day on which the "
            "column exists, as 2013-06-01."
        ) from error


def of_dbt(model: Mapping[str, Any]) -> Since:
    """What a model's columns declare as `since` in their `meta`.

    Args:
        model: The model's node in dbt's manifest.

    Raises:
        dagster.DagsterInvalidDefinitionError: A column names no day.
    """
    place = str(model.get("patch_path") or "").partition("://")[2]
    written = {
        name: {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}
        for name, column in model["columns"].items()
    }
    return {
        name: declared(name, meta[METADATA], f"{place}: {model['name']}")
        for name, meta in written.items()
        if METADATA in meta
    }
