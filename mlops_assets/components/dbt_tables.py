"""What the dbt models declare of themselves: their columns, and which of them are feature views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import ValidationError

from mlops_assets.components import dbt_manifest, younger
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.engines.schemas import Since


def columns(project: Path) -> dict[str, Sequence[str]]:
    """The described columns of each model, by its table in the lake."""
    return {table: list(node["columns"]) for table, node in _models(project)}


def since(project: Path) -> dict[str, Since]:
    """By table the first days of the columns that are younger than some of its partitions.

    Raises:
        dagster.DagsterInvalidDefinitionError: A column's `since` is no day.
    """
    return {table: found for table, node in _models(project) if (found := younger.of_dbt(node))}


def feature_views(project: Path) -> dict[str, FeatureView]:
    """The feature views by name, as the models' `feature_view` blocks declare them.

    Raises:
        dagster.DagsterInvalidDefinitionError: A block lacks a field, or has one too many.
    """
    found = {}
    for table, node in _models(project):
        block = node["config"].get("meta", {}).get("feature_view")
        if block is not None:
            found[str(node["name"])] = _feature_view(table, block, str(node["patch_path"]))
    return found


def _models(project: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node in dbt_manifest.load(project)["nodes"].values():
        if node["resource_type"] == "model":
            yield f"{node['schema']}/{node['name']}", node


def _feature_view(table: str, block: Mapping[str, Any], file: str) -> FeatureView:
    try:
        return FeatureView(table=table, **block)
    except (ValidationError, TypeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise dg.DagsterInvalidDefinitionError(
            f"{file.partition('://')[2]}: the feature_view block of {table} is not usable: "
            f"{reason}."
        ) from error
