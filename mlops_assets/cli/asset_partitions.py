"""Between Dagster's partitions of assets and the lake's partitions of tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.lake import TablePartition

Keys = set[str | None]
"""Keys of an asset's partitions; None stands for an asset without partitions."""


def mapped(graph: dg.AssetGraph, asset: dg.AssetKey, parent: dg.AssetKey, keys: Keys) -> Keys:
    """The partitions of a parent that Dagster maps an asset's partitions to."""
    child_definition = graph.get(asset).partitions_def
    definition = graph.get(parent).partitions_def
    if definition is None:
        return {None}
    wanted = [key for key in keys if key is not None]
    mapping = graph.get_partition_mapping(asset, parent)
    result = mapping.get_upstream_mapped_partitions_result_for_partitions(
        child_definition and child_definition.subset_with_partition_keys(wanted),
        child_definition,
        definition,
    )
    return set(result.partitions_subset.get_partition_keys())


def place_of(graph: dg.AssetGraph, asset: dg.AssetKey, key: str | None) -> TablePartition:
    """The lake's name of a partition of an asset."""
    from mlops_assets.components.publishing import lake_partition, table_partition

    return table_partition(asset, lake_partition(graph.get(asset).partitions_def, key))


def asset_keys(
    graph: dg.AssetGraph, places: Iterable[TablePartition]
) -> list[tuple[dg.AssetKey, str | None]]:
    """The asset and key of each partition of the lake; a quarantine is no asset and is left out."""
    from dagster import AssetKey

    from mlops_assets.components.publishing import partition_key

    found = []
    for place in places:
        asset = AssetKey(place.table.split("/"))
        if graph.has(asset):
            definition = graph.get(asset).partitions_def
            found.append((asset, partition_key(definition, place.partition)))
    return found


def step_name(graph: dg.AssetGraph, asset: dg.AssetKey) -> str:
    """The name of the step that makes an asset."""
    return str(graph.get(asset).assets_def.node_def.name)
