"""What the pod of a run gets: the one answer that the queue, the launcher and the pod go by.

Decided from the plan that Dagster stores with every run. A run's `asset_selection` is None for a
whole job, and tags of assets reach no run, so neither can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import _check as check

from mlops_assets.compute.assignment import PROFILE_TAG, labels_of, profiles_of
from mlops_assets.compute.placement import Placement, place
from mlops_assets.compute.profiles import ProfileError, Profiles

if TYPE_CHECKING:
    import dagster as dg
    from dagster._core.snap import ExecutionPlanSnapshot

OVERRIDE_TAG = "compute/override"
"""The run tag by which somebody asks for another profile than the assets name."""

DEVICE_TAG = "compute/device"
"""The stamped run tag that the queue's limit counts: `gpu` or `cpu`."""

MAX_RUNTIME_TAG = "dagster/max_runtime"

STAMPED_RUNTIME_TAG = "compute/max_runtime"
"""What `dagster/max_runtime` was stamped with; somebody who starts a run may have given another."""

PARTITION_TAG = "dagster/partition"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

STEP_PODS = "k8s"
"""The executor that gives every step a pod of its own."""


@dataclass(frozen=True)
class Resolved:
    """What a run's pod gets, and what its pod and its record say of it.

    Attributes:
        placement: What it gets.
        labels: What the run makes, by what people ask costs for: asset, partition, problem, group
            and profile.
    """

    placement: Placement
    labels: Mapping[str, str]

    def tags(self, run: dg.DagsterRun) -> dict[str, str]:
        """The run tags that say it, of those the run does not carry yet.

        They are small on purpose: a whole configuration in a tag would be inherited by every
        retry of the run, whatever the profile says by then.
        """
        found = {
            PROFILE_TAG: self.placement.name,
            DEVICE_TAG: "gpu" if self.placement.gpus else "cpu",
        }
        given = run.tags.get(MAX_RUNTIME_TAG)
        longest = self.placement.max_seconds
        # Retries inherit the stamp of the run before, and may have another profile.
        if given == run.tags.get(STAMPED_RUNTIME_TAG) and (given, longest) != (None, None):
            # Dagster takes an empty one for none.
            found[MAX_RUNTIME_TAG] = found[STAMPED_RUNTIME_TAG] = str(longest or "")
        return {key: value for key, value in found.items() if run.tags.get(key) != value}


@dataclass(frozen=True)
class _Step:
    """A step that a run executes.

    Attributes:
        key: Its key.
        tags: Its op tags.
        assets: The assets that it makes.
    """

    key: str
    tags: Mapping[str, str]
    assets: Sequence[str]


def resolve(instance: dg.DagsterInstance, run: dg.DagsterRun, profiles: Profiles) -> Resolved:
    """What the pod of a run gets.

    Args:
        instance: The record that holds the run's plan.
        run: The run.
        profiles: The deployment's.

    Raises:
        ProfileError: A profile does not exist, no pod can be all that the run's steps ask for, or
            somebody asked for one that would take a step's GPU.
    """
    plan = instance.get_execution_plan_snapshot(check.not_none(run.execution_plan_snapshot_id))
    steps = _steps(plan)
    span = _span(run)
    asked = []
    for step in steps:
        for name in profiles_of(step.tags, profiles.default, span):
            profiles.get(name, ", ".join(step.assets) or step.key)
            asked.append(name)
    placement = place(asked or [profiles.default], profiles)
    if OVERRIDE_TAG in run.tags:
        placement = _overridden(run.tags[OVERRIDE_TAG], placement, profiles)
    if placement.gpus and plan.executor_name == STEP_PODS:
        raise ProfileError(
            f"the profile {placement.name} gives the run's pod a GPU, and the job's executor "
            "gives each step a pod of its own, which would ask for another: remove the executor "
            "from the job, or the GPU from the profile."
        )
    return Resolved(placement, _labels(steps, span, placement))


def _steps(plan: ExecutionPlanSnapshot) -> list[_Step]:
    wanted = set(plan.step_keys_to_execute)
    return [
        _Step(
            key=step.key,
            tags=step.tags or {},
            assets=[
                output.properties.asset_key.to_user_string()
                for output in step.outputs
                if output.properties is not None and output.properties.asset_key is not None
            ],
        )
        for step in plan.steps
        if step.key in wanted
    ]


def _span(run: dg.DagsterRun) -> tuple[str, str] | None:
    first, last = (run.tags.get(tag) or run.tags.get(PARTITION_TAG) for tag in RANGE_TAGS)
    return (first, last) if first and last else None


def _overridden(name: str, placement: Placement, profiles: Profiles) -> Placement:
    place_of_name = f"the run tag {OVERRIDE_TAG}"
    profiles.get(name, place_of_name)
    wanted = place([name], profiles)
    if wanted.gpus < placement.gpus:
        raise ProfileError(
            f"{place_of_name} asks for {name}, which has {wanted.gpus or 'no'} GPUs, and the run "
            f"needs {placement.gpus} by its profile {placement.name}: ask for a profile with as "
            "many, or change the profile that the asset names."
        )
    return wanted


def _labels(
    steps: Sequence[_Step], span: tuple[str, str] | None, placement: Placement
) -> dict[str, str]:
    assets = _assets(steps)
    found = {**labels_of([step.tags for step in steps]), "profile": placement.name}
    if assets:
        found["asset"] = " ".join(assets)
    if span is not None:
        found["partition"] = "..".join(dict.fromkeys(span))
    return found


def _assets(steps: Sequence[_Step]) -> list[str]:
    return list(dict.fromkeys(asset for step in steps for asset in step.assets))
