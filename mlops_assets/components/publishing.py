"""From a step's lake transaction to its materializations in Dagster's record.

The one place that knows both sides: how partitions are named in the lake, what a work branch is
called, and in which order a merge and its events happen (the merge first: published means
materialized).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from mlops_assets.components.environment import environment
from mlops_assets.components.provenance import (
    CODE_VERSION,
    CONFIG,
    JOB,
    PARAMETERS,
    ROOT_RUN_ID,
    RUN_ID,
    stable_json,
)
from mlops_assets.components.writer import this_writer
from mlops_assets.lake import (
    Lake,
    Manifest,
    Partition,
    Publication,
    PublishedPartition,
    Snapshot,
    TablePartition,
    Transaction,
)

DIMENSION = {
    dg.DailyPartitionsDefinition: "day",
    dg.MonthlyPartitionsDefinition: "month",
}

# Dagster reads these tags of a materialization to tell what is stale. It sets them itself, but
# with one data version for all partitions of a range.
DATA_VERSION_TAG = "dagster/data_version"
DATA_VERSION_IS_OURS_TAG = "dagster/data_version_is_user_provided"
CODE_VERSION_TAG = "dagster/code_version"
INPUT_VERSION_TAG = "dagster/input_data_version"
INPUT_POINTER_TAG = "dagster/input_event_pointer"


def table_name(key: dg.AssetKey) -> str:
    """The lake's name of an asset's table."""
    return "/".join(key.path)


def lake_partition(definition: dg.PartitionsDefinition[str] | None, key: str | None) -> Partition:
    """The lake's partition for a partition key of Dagster's.

    Args:
        definition: How the asset is partitioned; None if it is not.
        key: The partition's key; None if the asset has no partitions.

    Raises:
        ValueError: A kind of partitions that has no dimension name in the lake.
    """
    if definition is None or key is None:
        return Partition()
    if isinstance(definition, dg.MultiPartitionsDefinition):
        values = definition.get_partition_key_from_str(key).keys_by_dimension
        return Partition.of({part.name: values[part.name] for part in definition.partitions_defs})
    for kind, dimension in DIMENSION.items():
        if isinstance(definition, kind):
            return Partition.of({dimension: key})
    raise ValueError(f"partitions of kind {type(definition).__name__} have no name in the lake.")


def partition_key(
    definition: dg.PartitionsDefinition[str] | None, partition: Partition
) -> str | None:
    """Dagster's key of a partition of the lake; the inverse of `lake_partition`."""
    if definition is None:
        return None
    values = dict(partition.values)
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return dg.MultiPartitionKey(values)
    [value] = values.values()
    return value


def partition_keys(context: dg.AssetExecutionContext) -> list[str | None]:
    """The partition keys of this step's run; `[None]` where its assets have no partitions."""
    return [None] if context.assets_def.partitions_def is None else list(context.partition_keys)


def output_partitions(context: dg.AssetExecutionContext) -> set[Partition]:
    """The partitions that this step makes."""
    return set(partitions_by_key(context))


def partitions_by_key(context: dg.AssetExecutionContext) -> dict[Partition, str | None]:
    """The partitions that this step makes, with their keys in Dagster; in order."""
    definition = context.assets_def.partitions_def
    return {lake_partition(definition, key): key for key in partition_keys(context)}


def input_partitions(
    context: dg.AssetExecutionContext, upstream: dg.AssetKey
) -> list[Partition] | None:
    """The partitions of an upstream asset that this step's partitions depend on.

    Returns:
        Them, by the asset's declared partition mapping; None for an asset without partitions.
    """
    definition = context.job_def.asset_layer.get(upstream).partitions_def
    if definition is None:
        return None
    if upstream in context.assets_def.keys:
        keys = context.partition_keys
    else:
        inputs = context.assets_def.keys_by_input_name.items()
        name = next(name for name, key in inputs if key == upstream)
        keys = context.asset_partition_keys_for_input(name)
    return [lake_partition(definition, key) for key in keys]


def step_name(context: dg.AssetExecutionContext) -> str:
    """The step's name, as commits and work branches carry it."""
    return context.op_execution_context.op_handle.name


def step_message(context: dg.AssetExecutionContext) -> str:
    """A commit's message: the step and the partitions that it made."""
    keys = [key for key in partition_keys(context) if key is not None]
    if not keys:
        return step_name(context)
    span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
    return f"{step_name(context)}: {span}"


def open_transaction(
    context: dg.AssetExecutionContext, lake: Lake, *, also: Sequence[str] = ()
) -> Transaction:
    """The lake transaction of this attempt of this step.

    Args:
        context: The step's.
        lake: Where.
        also: Tables that it may write beside those of its selected assets.
    """
    run, attempt = context.run, context.op_execution_context.retry_number
    root = run.root_run_id or run.run_id
    branch = f"tx-{root}-{step_name(context)}-{run.run_id}-{attempt}"
    tables = [table_name(key) for key in context.selected_asset_keys]
    return lake.transaction(branch, [*tables, *also])


def commit_metadata(
    context: dg.AssetExecutionContext, *, parameters: Mapping[str, object] | None = None
) -> dict[str, str]:
    """What a commit says of the run that made it, its code, its declarations and its environment.

    Args:
        context: The step's.
        parameters: What was declared for the step's results, by name.
    """
    run, step = context.run, step_name(context)
    versions = context.assets_def.code_versions_by_key
    tables = {table_name(key): key for key in sorted(context.selected_asset_keys)}
    ops: Any = run.run_config.get("ops", {})
    config = ops.get(step, {}).get("config")
    return {
        RUN_ID: run.run_id,
        ROOT_RUN_ID: run.root_run_id or run.run_id,
        JOB: run.job_name,
        **this_writer(),
        **environment(),
        **{f"{CODE_VERSION}{table}": str(versions[key]) for table, key in tables.items()},
        **({f"{CONFIG}{step}": stable_json(config)} if config else {}),
        **{f"{PARAMETERS}{table}": stable_json(parameters) for table in tables if parameters},
    }


def publish_each(
    context: dg.AssetExecutionContext,
    lake: Lake,
    make: Callable[[Snapshot, Partition, Path], tuple[Manifest, Mapping[str, Any]]],
    *,
    parameters: Mapping[str, object] | None = None,
    published: Callable[[PublishedPartition], Mapping[str, Any]] = lambda _: {},
    of_asset: Mapping[dg.AssetKey, Mapping[str, Any]] | None = None,
) -> Iterator[Any]:
    """One transaction of an asset whose every partition is made by itself; yields its events.

    Args:
        context: The step's.
        lake: Where.
        make: Makes one partition from the pin, its files in the empty folder that it is given;
            returns its manifest and what the UI is to show of it. Partitions come in order.
        parameters: What was declared for the results, by name, as the commit is to say it.
        published: Called with each partition after the merge and before its event; returns what
            else the UI is to show of it.
        of_asset: What to show of the asset as a whole.
    """
    [asset] = context.selected_asset_keys
    with open_transaction(context, lake) as transaction:
        written, shown = {}, {}
        for partition in sorted(output_partitions(context)):
            folder = transaction.scratch / "partitions" / partition.path
            folder.mkdir(parents=True)
            manifest, shown[partition] = make(transaction.reader(partition), partition, folder)
            written[table_partition(asset, partition)] = (manifest, folder)
        transaction.write(written)
        metadata = commit_metadata(context, parameters=parameters)
        publication = transaction.publish(step_message(context), metadata)
    for part in publication.partitions:
        shown[part.key.partition] = {**shown[part.key.partition], **published(part)}
    yield from materializations(context, publication, metadata={asset: shown}, of_asset=of_asset)


def materializations(
    context: dg.AssetExecutionContext,
    publication: Publication,
    *,
    metadata: Mapping[dg.AssetKey, Mapping[Partition, Mapping[str, Any]]] | None = None,
    of_asset: Mapping[dg.AssetKey, Mapping[str, Any]] | None = None,
    check_results: Iterable[dg.AssetCheckResult] = (),
) -> Iterator[dg.MaterializeResult[Any] | DagsterEvent | dg.AssetCheckResult]:
    """The events of what a transaction published, to be yielded after its merge.

    Args:
        context: The step's.
        publication: What it published.
        metadata: What else to show of a partition, by asset and partition.
        of_asset: What to show of an asset as a whole: said once, on the last of its events, which
            is the one that the UI describes the asset by.
        check_results: Of the checks that the published bytes passed.
    """
    yield from check_results
    keys = partitions_by_key(context)
    published: dict[dg.AssetKey, list[PublishedPartition]] = {}
    for part in publication.partitions:
        published.setdefault(dg.AssetKey(part.key.table.split("/")), []).append(part)
    for asset in _upstream_first(context):
        parts = published.get(asset, [])
        shown = {
            part.key.partition: {
                **published_metadata(part),
                **(metadata or {}).get(asset, {}).get(part.key.partition, {}),
            }
            for part in parts
        }
        for part in parts[-1:]:
            shown[part.key.partition] |= {
                **columns(part.manifest),
                **(of_asset or {}).get(asset, {}),
            }
        if len(parts) == 1:
            yield dg.MaterializeResult(
                asset_key=asset,
                metadata=shown[parts[0].key.partition],
                data_version=dg.DataVersion(parts[0].manifest.data_version),
            )
            continue
        yield dg.MaterializeResult(asset_key=asset, metadata={"lake/pin": publication.pin})
        provenance = _recorded_provenance(context, asset)
        yield from _recorded(
            context,
            [
                dg.AssetMaterialization(
                    asset_key=asset,
                    partition=keys[part.key.partition],
                    metadata=shown[part.key.partition],
                    tags=version_tags(part, provenance),
                )
                for part in parts
            ],
        )


def _recorded(
    context: dg.AssetExecutionContext, materialized: Sequence[dg.AssetMaterialization]
) -> Iterator[DagsterEvent]:
    """The events of materializations, which Dagster stores as one batch.

    Yielded as they are, Dagster would store each by itself: for a year of partitions that took
    three times as long. The batch is Dagster's internal; a test records a range in it.
    """
    batch = str(uuid4())
    for place, materialization in enumerate(materialized, start=1):
        yield DagsterEvent.asset_materialization(
            context.op_execution_context.get_step_execution_context(),
            materialization,
            DagsterEventBatchMetadata(batch, is_end=place == len(materialized)),
        )


def _upstream_first(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    selected = context.selected_asset_keys
    upstream = {
        key: context.assets_def.asset_deps[key] & selected - {key} for key in sorted(selected)
    }
    return list(TopologicalSorter(upstream).static_order())


def _recorded_provenance(
    context: dg.AssetExecutionContext, asset: dg.AssetKey
) -> dg.DataProvenance | None:
    """What Dagster recorded of the inputs of the materialization that this run just yielded.

    The asset's newest record, which Dagster offers, can be another run's that materializes other
    partitions at the same time, and would make these look as if built from its inputs.
    """
    cursor = None
    while True:
        page = context.instance.fetch_materializations(asset, limit=100, cursor=cursor)
        for record in page.records:
            if record.run_id == context.run.run_id:
                return dg.DataProvenance.from_tags(record.event_log_entry.tags or {})
        if not page.has_more:
            return None
        cursor = page.cursor


def version_tags(part: PublishedPartition, provenance: dg.DataProvenance | None) -> dict[str, str]:
    """The tags by which Dagster tells what is stale.

    Args:
        part: What was published.
        provenance: The code and the inputs that it was made with; None if that is not known.
    """
    tags = {DATA_VERSION_TAG: part.manifest.data_version, DATA_VERSION_IS_OURS_TAG: "true"}
    if provenance is not None:
        tags[CODE_VERSION_TAG] = provenance.code_version
        for key, version in provenance.input_data_versions.items():
            tags[f"{INPUT_VERSION_TAG}/{key.to_user_string()}"] = version.value
        for key, pointer in provenance.input_storage_ids.items():
            tags[f"{INPUT_POINTER_TAG}/{key.to_user_string()}"] = str(pointer or "NULL")
    return tags


def published_metadata(part: PublishedPartition) -> dict[str, Any]:
    """What the UI shows of a published partition, whatever it is of."""
    rows = {} if part.manifest.rows is None else {"dagster/partition_row_count": part.manifest.rows}
    return {
        "lake/commit": part.commit,
        "lake/pin": part.pin,
        "lake/path": part.key.folder,
        "lake/changed": part.changed,
        **rows,
    }


def columns(manifest: Manifest) -> dict[str, Any]:
    """A table's columns and their types, as Dagster shows them; nothing where it is no table."""
    if not manifest.schema:
        return {}
    columns = [dg.TableColumn(name, kind) for name, kind in manifest.schema.items()]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def table_partition(asset: dg.AssetKey, partition: Partition) -> TablePartition:
    """The lake's name of one partition of an asset."""
    return TablePartition(table_name(asset), partition)
