"""What Dagster calls stale, asked in the one place that knows its internals."""

from collections.abc import Callable

import dagster as dg
import pytest
from installation import Installation


@pytest.fixture
def stale() -> Callable[[Installation], set[tuple[str, str | None]]]:
    """Finds every materialized partition that Dagster shows as stale: asset and partition key."""
    # Dagster shows this in its UI and has no public call for it.
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    def find(installation: Installation) -> set[tuple[str, str | None]]:
        graph = installation.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(
            installation.instance, graph, LoadingContextForTest(installation.instance)
        )
        return {
            (key.to_user_string(), partition)
            for key in graph.materializable_asset_keys
            for partition in _materialized(installation, graph.get(key).partitions_def, key)
            if resolver.get_status(key, partition) is StaleStatus.STALE
        }

    return find


def _materialized(
    installation: Installation,
    partitions: dg.PartitionsDefinition[str] | None,
    key: dg.AssetKey,
) -> list[str | None]:
    if partitions is None:
        return [None]
    return sorted(installation.instance.get_materialized_partitions(key))
