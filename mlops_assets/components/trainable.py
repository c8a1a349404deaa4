"""Which partitions of an asset have all of their inputs."""

from __future__ import annotations

import dagster as dg

from mlops_assets.components.problem_assets import OPTIONAL


def newest_trainable(
    graph: dg.AssetGraph, instance: dg.DagsterInstance, key: dg.AssetKey
) -> str | None:
    """The newest partition of a training set whose inputs are all there.

    Args:
        graph: Where the asset is.
        instance: Dagster's record.
        key: The asset.

    Returns:
        The partition's key; None if no partition has all of them, or there is no such asset.
    """
    if not graph.has(key):
        return None
    node = graph.get(key)
    partitions = node.partitions_def
    if partitions is None:
        return None
    [spec] = [spec for spec in node.assets_def.specs if spec.key == key]
    needed = [dep.asset_key for dep in spec.deps if not dep.metadata.get(OPTIONAL)]
    made = {upstream: set(instance.get_materialized_partitions(upstream)) for upstream in needed}
    months: list[str] = list(partitions.get_partition_keys())
    for partition in reversed(months):
        wanted = {upstream: _inputs(graph, key, partition, upstream) for upstream in needed}
        if all(inputs <= made[upstream] for upstream, inputs in wanted.items()):
            return partition
    return None


def _inputs(
    graph: dg.AssetGraph, key: dg.AssetKey, partition: str, upstream: dg.AssetKey
) -> set[str]:
    downstream_def = graph.get(key).partitions_def
    upstream_def = graph.get(upstream).partitions_def
    if downstream_def is None or upstream_def is None:
        return set()
    mapped = graph.get_partition_mapping(key, upstream)
    found = mapped.get_upstream_mapped_partitions_result_for_partitions(
        downstream_partitions_subset=downstream_def.subset_with_partition_keys([partition]),
        downstream_partitions_def=downstream_def,
        upstream_partitions_def=upstream_def,
    )
    return set(found.partitions_subset.get_partition_keys())
