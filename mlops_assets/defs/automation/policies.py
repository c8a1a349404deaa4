"""Which asset is made when, and when it is late: one answer for every asset of the graph.

By group, kind and name alone, so that a table, a feature view or a problem that is added later is
made like the others. What the conditions mean stands in `conditions`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from mlops_assets.components.problem_assets import OPTIONAL
from mlops_assets.compute.assignment import POOL
from mlops_assets.defs.automation import conditions
from mlops_assets.defs.automation.conditions import Condition, Needs
from mlops_assets.defs.raw.days import LOCAL_ZONE
from mlops_assets.settings import settings
from mlops_assets.tracking.results import MONITOR_PREFIX

RAW = "raw"
TABLES = "dbt"
"""The kind of what dbt builds."""
STEP = dg.AssetSelection.groups("staging", "marts")
"""What the warehouse builds in one step."""
FEATURES = "features"

DEVICE_TAG = "compute/device"
GPU = "gpu"

FLOW_OF_TABLES = "flow_of_tables"

CALENDAR = dg.AssetKey(["raw", "flights"])
"""What has a partition for every day, and is no direct input of what looks back."""


@dataclass(frozen=True)
class Freshness:
    """When an asset is late.

    Attributes:
        policy: What Dagster's daemon looks at.
        late: What late means, in words.
    """

    policy: dg.FreshnessPolicy
    late: str


@dataclass(frozen=True)
class Policy:
    """What holds of an asset.

    Attributes:
        condition: When it is made without a hand; None if a schedule or a sensor starts it.
        freshness: When it is late.
    """

    condition: Condition | None
    freshness: Freshness


def policy_of(spec: dg.AssetSpec) -> Policy | None:
    """What holds of an asset; None if nothing is said of its like.

    Args:
        spec: The asset, as it is declared.
    """
    if spec.group_name == RAW:
        return Policy(None, _daily(12))
    if TABLES in spec.kinds:
        if spec.group_name == FEATURES:
            nightly = settings().nightly
            return Policy(conditions.timed(nightly, LOCAL_ZONE, _needs(spec)), _daily(8))
        return Policy(conditions.step_flow(STEP, FLOW_OF_TABLES), _daily(13))
    return _of_problem(spec)


def _of_problem(spec: dg.AssetSpec) -> Policy | None:
    """What holds of an asset of a machine-learning problem."""
    name = spec.key.path[-1]
    monthly = settings().monthly
    if name.startswith(MONITOR_PREFIX):
        return Policy(conditions.following_flow(_needs(spec)), _daily(10))
    if name == "predictions":
        deployed = dg.AssetSelection.assets([*spec.key.path[:-1], "deployed_model"])
        return Policy(conditions.scoring(deployed, _needs(spec)), _daily(9))
    found: dict[str, Condition] = {
        "training_set": conditions.timed(monthly, LOCAL_ZONE, Needs(optional=_optional(spec))),
        "model": conditions.trained(monthly, LOCAL_ZONE),
        "evaluation_report": conditions.following_flow(),
        "champion": conditions.following_flow(),
        "deployed_model": conditions.deploying(Needs(optional=_optional(spec))),
    }
    return Policy(found[name], _monthly()) if name in found else None


def _needs(spec: dg.AssetSpec) -> Needs:
    """What a day cannot be made without: of what it looks back on, the day itself."""
    looked_back_on = [
        dep.asset_key
        for dep in spec.deps
        if isinstance(dep.partition_mapping, dg.TimeWindowPartitionMapping)
        and dep.partition_mapping.start_offset < 0
    ]
    return Needs(optional=_optional(spec), looked_back_on=looked_back_on, calendar=CALENDAR)


def _optional(spec: dg.AssetSpec) -> list[dg.AssetKey]:
    """The inputs that may be missing, as the problem declares them."""
    return [dep.asset_key for dep in spec.deps if dep.metadata.get(OPTIONAL)]


def _daily(hour: int) -> Freshness:
    return Freshness(
        dg.FreshnessPolicy.cron(
            deadline_cron=f"0 {hour} * * *",
            lower_bound_delta=timedelta(days=1),
            timezone=LOCAL_ZONE,
        ),
        f"Late at {hour}:00, New York time, if nothing of it was made since {hour}:00 of the day "
        "before.",
    )


def _monthly() -> Freshness:
    return Freshness(
        dg.FreshnessPolicy.cron(
            deadline_cron="0 12 3 * *", lower_bound_delta=timedelta(days=28), timezone=LOCAL_ZONE
        ),
        "Late on the 3rd of a month at noon, New York time, if nothing of it was made in the 28 "
        "days before.",
    )


def governed(definitions: dg.Definitions) -> dg.Definitions:
    """The same definitions, each asset with what holds of it, and marked if it gets a GPU."""
    on_gpu = {
        key
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition) and assets.op.pool == POOL
        for key in assets.keys
    }

    def govern(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = policy_of(spec)
        if policy is None:
            return spec
        late = {"late": policy.freshness.late}
        device = {DEVICE_TAG: GPU} if spec.key in on_gpu else {}
        return spec.merge_attributes(metadata=late, tags=device).replace_attributes(
            automation_condition=policy.condition, freshness_policy=policy.freshness.policy
        )

    with warnings.catch_warnings():
        # In preview; the other way, to rebuild the definitions, forgets their components.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return definitions.map_asset_specs(func=govern)
