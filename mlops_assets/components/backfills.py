"""Asking Dagster's daemon to make partitions of assets, in order and in as few runs as they allow.

The one place that knows how a backfill of assets is added, which Dagster's own GraphQL API alone
does, in a webserver. A test holds what is made here to what that API makes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.utils import INVALID_TITLE_CHARACTERS_REGEX, MAX_TITLE_LENGTH
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id


def new_id() -> str:
    """An id that no backfill has yet, as Dagster makes them."""
    return make_new_backfill_id()


def add(
    instance: dg.DagsterInstance,
    graph: dg.AssetGraph,
    targets: Mapping[dg.AssetKey, Sequence[str] | None],
    tags: Mapping[str, str],
    *,
    name: str,
    title: str,
) -> PartitionBackfill:
    """Ask Dagster's daemon to make partitions of assets.

    Args:
        instance: Whose daemon.
        graph: What exists.
        targets: The partitions, by asset; None for an asset without.
        tags: Of the backfill and of each of its runs.
        name: Its id, as `new_id` gives one.
        title: What it is, for people, such as the selection that somebody wrote; characters that
            Dagster refuses in titles, and what is too long, are left out of it.
    """
    wanted = {
        AssetKeyPartitionKey(asset, key)
        for asset, keys in targets.items()
        for key in ([None] if keys is None else keys)
    }
    subset = AssetGraphSubset.from_asset_partition_set(wanted, graph)
    shown = INVALID_TITLE_CHARACTERS_REGEX.sub("", title)[:MAX_TITLE_LENGTH]
    return add_subset(instance, subset, tags, name=name, title=shown)


def add_subset(
    instance: dg.DagsterInstance,
    target: AssetGraphSubset,
    tags: Mapping[str, str],
    *,
    name: str,
    title: str | None,
) -> PartitionBackfill:
    """The same of partitions as Dagster's backfills keep them."""
    backfill: PartitionBackfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=name,
        backfill_timestamp=time.time(),
        tags=tags,
        dynamic_partitions_store=instance,
        asset_graph_subset=target,
        title=title,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill
