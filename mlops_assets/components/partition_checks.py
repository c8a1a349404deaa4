"""Asset checks with a result for each partition of a run.

A check without partitions would show the last result of any partition as that of all, and a broken
file of one day would hold back every day downstream. Dagster gives a result the partition of its
run, and a range of partitions is one run: so what is recorded here are evaluations.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from mlops_assets.components import publishing
from mlops_assets.lake import Partition


@dataclass(frozen=True)
class Finding:
    """What a check found in one partition.

    Attributes:
        check: The check's name.
        passed: Whether it holds.
        sentence: What was found, as people read it.
        metadata: What else the UI is to show of it.
        severity: How bad it is where it does not hold.
    """

    check: str
    passed: bool
    sentence: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


def spec(
    name: str,
    asset: dg.AssetKey,
    description: str,
    partitions: dg.PartitionsDefinition[str] | None,
    *,
    blocking: bool = False,
) -> dg.AssetCheckSpec:
    """A check of an asset that has a result for each of its partitions.

    Args:
        name: The check's name.
        asset: The asset.
        description: What it asks for.
        partitions: The asset's partitions; None if it has none.
        blocking: Whether what comes after a partition waits for it to pass.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name,
            asset=asset,
            description=description,
            partitions_def=partitions,
            blocking=blocking,
        )


def evaluations(
    context: dg.AssetExecutionContext,
    asset: dg.AssetKey,
    found: Mapping[Partition, Iterable[Finding]],
    *,
    blocking: bool = False,
) -> Iterator[DagsterEvent]:
    """The results of an asset's checks, to be yielded after its materializations.

    Each names the newest materialization of its partition. Without that name automation takes a
    result for one of older content, and nothing that waits for the check to pass ever runs. The
    class of the name, and storing the results as one batch, are Dagster's internals; a test ticks
    an automation condition over them.

    Args:
        context: The step's.
        asset: The asset.
        found: What its checks found, by partition; of one that could not be judged, nothing.
        blocking: Whether what comes after a partition waits for it to pass.
    """
    told = [
        (partition, finding)
        for partition in publishing.partitions_by_key(context)
        for finding in found.get(partition, ())
    ]
    keys = publishing.partitions_by_key(context)
    targets = _newest(context.instance, asset, [keys[partition] for partition in found])
    batch = str(uuid4())
    for place, (partition, finding) in enumerate(told, start=1):
        evaluation = dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=finding.check,
            passed=finding.passed,
            severity=finding.severity,
            blocking=blocking,
            description=finding.sentence,
            metadata=finding.metadata,
            partition=keys[partition],
            target_materialization_data=targets.get(keys[partition]),
        )
        yield DagsterEvent.from_step(
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
            context.op_execution_context.get_step_execution_context(),
            evaluation,
            f"{finding.check} {'holds' if finding.passed else 'does not hold'}: {finding.sentence}",
            DagsterEventBatchMetadata(batch, is_end=place == len(told)),
        )


def given(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """What Dagster asks a step for beside evaluations: that each of its checks has had its turn."""
    for key in context.selected_asset_check_keys:
        yield dg.Output(None, context.assets_def.get_output_name_for_asset_check_key(key))


def _newest(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Iterable[str | None]
) -> dict[str | None, Target]:
    """The newest materialization of each partition that has one."""
    wanted = set(keys)
    # What this step has just made are the newest of the asset: one query for a range of them.
    records = list(instance.fetch_materializations(asset, limit=len(wanted) or 1).records)
    for key in wanted - {record.partition_key for record in records} - {None}:
        asked = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[str(key)])
        records += instance.fetch_materializations(asked, limit=1).records
    found: dict[str | None, Target] = {}
    for record in records:
        target = Target(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        found.setdefault(record.partition_key, target)
    return {key: target for key, target in found.items() if key in wanted}
