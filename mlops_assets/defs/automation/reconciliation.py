"""The sensor that records what a killed run published and never recorded."""

from typing import cast

import dagster as dg

from mlops_assets.components.reconciliation import materializations, unrecorded
from mlops_assets.lake import Lake

# Dagster stores a tick's events one by one, and gives a tick 60 s.
EVENTS_A_TICK = 500


@dg.sensor(
    minimum_interval_seconds=60,
    description=(
        "Reports as materialized what the base branch holds and no event names: a run that was "
        "killed between its merge and its event leaves that. What a running process may yet "
        "record is left to it."
    ),
)
def reconcile_record(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
) -> dg.SensorResult | dg.SkipReason:
    """Report what is unrecorded since the head that the cursor names."""
    graph = cast("dg.RepositoryDefinition", context.repository_def).asset_graph
    since = context.cursor
    if since and lake.head() == since:
        return dg.SkipReason(f"{lake.base_branch} has not moved since {since[:12]}.")
    found = unrecorded(lake, context.instance, graph, since=since or None)
    now = found.partitions[:EVENTS_A_TICK]
    whole = len(now) == len(found.partitions) and not found.recording
    return dg.SensorResult(
        asset_events=list(materializations(lake, context.instance, graph, now)),
        cursor=found.head if whole else since,
    )
