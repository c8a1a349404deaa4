"""The three sensors that evaluate the conditions: of tables, of models and of all other data.

One for each kind of work, so that each can be switched off by itself: the GPUs' budget is spent,
and data flows on. Every asset belongs to exactly one; what none of them covered, Dagster would give
a sensor of its own making.
"""

from __future__ import annotations

import dagster as dg

from mlops_assets.defs.automation.policies import DEVICE_TAG, FLOW_OF_TABLES, GPU, TABLES
from mlops_assets.defs.automation.run_tags import started_by

INTERVAL_SECONDS = 15

_TABLES = dg.AssetSelection.kind(TABLES)
_MODELS = dg.AssetSelection.tag(DEVICE_TAG, GPU)


def _flow(
    name: str, target: dg.AssetSelection, what: str
) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=name,
        target=target,
        description=(
            f"{what} Each asset says under Automation when it is made, and of each partition why "
            "it was, or was not. Several partitions of a tick are one backfill."
        ),
        run_tags=started_by(name),
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=INTERVAL_SECONDS,
        emit_backfills=True,
    )


flow_of_tables = _flow(
    FLOW_OF_TABLES,
    _TABLES,
    "Builds what dbt builds: staging and marts as raw data changes, feature views at night.",
)
flow_of_models = _flow(
    "flow_of_models",
    _MODELS,
    "Trains what asks for a GPU: a model when its training set changed.",
)
flow_of_data = _flow(
    "flow_of_data",
    dg.AssetSelection.all() - _TABLES - _MODELS,
    "Makes everything else: training sets monthly, reports and champions as models change, "
    "predictions as their features come, monitors as predictions and labels do.",
)
