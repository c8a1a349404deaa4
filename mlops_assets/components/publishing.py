"""From a step's lake transaction to its materializations in Dagster's record.

The one place that knows both sides: how partitions are named in the lake, what a work branch is
called, and in which order a merge and its events happen (the merge first: published means
materialized).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.data_version import DEFAULT_DATA_VERSION
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from mlops_assets.components.code_version import edited_since
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
from mlops_assets.components.younger import since_of
from mlops_assets.engines.schemas import SchemaError, Since
from mlops_assets.lake import (
    Lake,
    Manifest,
    MissingPartitionError,
    Partition,
    Publication,
    PublishedPartition,
    Snapshot,
    TablePartition,
    Transaction,
)
from mlops_assets.ml.labels import UnusableRowsError
from mlops_assets.ml.model import NotAModelError

PARTITION_FAULTS = (MissingPartitionError, NotAModelError, SchemaError, UnusableRowsError)
"""What one partition can fail by while the others of its step can be made."""

PartitionFault = MissingPartitionError | NotAModelError | SchemaError | UnusableRowsError

NAMED = 10
"""So many partitions a sentence names; Dagster's record has all of them."""

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


def step_message(
    context: dg.AssetExecutionContext, made: Collection[Partition] | None = None
) -> str:
    """A commit's message: the step and the partitions that it made.

    Args:
        context: The step's.
        made: Those of its partitions; all if None.
    """
    keys = [
        key
        for partition, key in partitions_by_key(context).items()
        if key is not None and (made is None or partition in made)
    ]
    if not keys:
        return step_name(context)
    span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
    return f"{step_name(context)}: {span}"


def open_transaction(
    context: dg.AssetExecutionContext, lake: Lake, *, also: Sequence[str] = (), of: str = ""
) -> Transaction:
    """The lake transaction of this attempt of this step.

    Args:
        context: The step's.
        lake: Where.
        also: Tables that it may write beside those of its selected assets.
        of: What tells it from another transaction of the attempt; it ends the branch's name.

    Raises:
        dagster.Failure: Code that the step may yet import is not what its code version names.
    """
    if edited := edited_since():
        raise dg.Failure(
            f"{edited[0]} was edited after this process loaded the definitions, and their code "
            "versions name its earlier text: reload the code location, or start the command again. "
            "Nothing was published.",
            allow_retries=False,
        )
    run, attempt = context.run, context.op_execution_context.retry_number
    root = run.root_run_id or run.run_id
    parts = (root, step_name(context), run.run_id, str(attempt), of)
    branch = f"tx-{'-'.join(filter(None, parts))}"
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
    also: Iterable[Any] = (),
    chain: Callable[[Partition], Hashable] | None = None,
) -> Iterator[Any]:
    """One transaction of an asset whose every partition is made by itself; yields its events.

    A partition that cannot be made holds no other back: those that can are published and recorded
    together, and then the step fails by the names of those that cannot. Whatever is no fault of a
    partition (a lake that does not answer, a full disk, an interrupt) fails the step at once.

    Args:
        context: The step's.
        lake: Where.
        make: Makes one partition from the pin, its files in the empty folder that it is given;
            returns its manifest and what the UI is to show of it. Partitions come in order.
        parameters: What was declared for the results, by name, as the commit is to say it.
        published: Called with each partition after the merge and before its event; returns what
            else the UI is to show of it.
        of_asset: What to show of the asset as a whole.
        also: Further events of what was published, asked for once it is.
        chain: Names the chain that a partition belongs to, where each is made from the one
            before: what follows one that cannot be made is not tried.

    Raises:
        dagster.Failure: Some of several partitions cannot be made.
        MissingPartitionError: The only partition lacks an input.
        UnusableRowsError: The only partition has rows that cannot be used.
        NotAModelError: The only partition's model is none.
        SchemaError: The only partition reads partitions whose schemas differ.
    """
    [asset] = context.selected_asset_keys
    refused: dict[Partition, PartitionFault] = {}
    with open_transaction(context, lake) as transaction:
        written, shown = {}, {}
        for partition in sorted(output_partitions(context)):
            before = [] if chain is None else [p for p in refused if chain(p) == chain(partition)]
            if before:
                refused[partition] = refused[before[0]]
                continue
            folder = transaction.scratch / "partitions" / partition.path
            folder.mkdir(parents=True)
            try:
                manifest, shown[partition] = make(transaction.reader(partition), partition, folder)
            except PARTITION_FAULTS as error:
                refused[partition] = error
                continue
            written[table_partition(asset, partition)] = (manifest, folder)
        if not written:
            first = next(iter(refused.values()))
            raise first if len(refused) == 1 else refusal(context, refused) from first
        transaction.write(written)
        metadata = commit_metadata(context, parameters=parameters)
        made = shown.keys() - refused.keys()
        publication = transaction.publish(step_message(context, made), metadata)
    for part in publication.partitions:
        shown[part.key.partition] = {**shown[part.key.partition], **published(part)}
    yield from materializations(
        context,
        publication,
        metadata={asset: shown},
        of_asset=of_asset,
        complete=not refused,
    )
    yield from also
    if refused:
        raise refusal(context, refused) from next(iter(refused.values()))


def refusal(
    context: dg.AssetExecutionContext, refused: Mapping[Partition, object], *, kept: str = ""
) -> dg.Failure:
    """The failure of a step that published its other partitions, if it has others.

    Args:
        context: The step's.
        refused: The partitions that it could not make, with the reason of each.
        kept: What is left of them, as a sentence.
    """
    keys = partitions_by_key(context)
    in_order = [partition for partition in keys if partition in refused]
    names = [str(keys[partition]) for partition in in_order]
    reason = str(refused[in_order[0]]).rstrip(".")
    if len(keys) > 1:
        [asset] = context.selected_asset_keys
        listed = ", ".join(names[:NAMED])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        reason = (
            f"{table_name(asset)}: {len(names)} of {len(keys)} partitions were not made: "
            f"{listed}{more}. {names[0]}: {reason}"
        )
    others = len(keys) - len(refused)
    rest = f"The other {others} are published." if others else "Nothing was published."
    sentence = f"{reason}. {rest} {kept}"
    # Made again from the same pin it would fail again.
    return dg.Failure(sentence.rstrip(), allow_retries=False)


def materializations(
    context: dg.AssetExecutionContext,
    publication: Publication,
    *,
    metadata: Mapping[dg.AssetKey, Mapping[Partition, Mapping[str, Any]]] | None = None,
    of_asset: Mapping[dg.AssetKey, Mapping[str, Any]] | None = None,
    check_results: Iterable[dg.AssetCheckResult] = (),
    complete: bool = True,
) -> Iterator[dg.MaterializeResult[Any] | DagsterEvent | dg.AssetCheckResult]:
    """The events of what a transaction published, to be yielded after its merge.

    Args:
        context: The step's.
        publication: What it published.
        metadata: What else to show of a partition, by asset and partition.
        of_asset: What to show of an asset as a whole: said once, on the last of its events, which
            is the one that the UI describes the asset by.
        check_results: Of the checks that the published bytes passed.
        complete: Whether that is all that the step was to make. Of a part of it there is no
            result for Dagster, which would record every partition of the run.
    """
    yield from check_results
    graph = context.job_def.asset_layer.asset_graph
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
                **columns(part.manifest, since_of(graph, part.key.table)),
                **(of_asset or {}).get(asset, {}),
            }
        if complete and len(parts) == 1:
            yield dg.MaterializeResult(
                asset_key=asset,
                metadata=shown[parts[0].key.partition],
                data_version=dg.DataVersion(parts[0].manifest.data_version),
            )
            continue
        provenance = _provenance(context, asset)
        if complete:
            yield dg.MaterializeResult(asset_key=asset, metadata={"lake/pin": publication.pin})
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


def _provenance(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> dg.DataProvenance:
    """What Dagster records of the code and the inputs of an asset that this step makes.

    Its own record of them is only there for a step that made all of its partitions. The step's
    view of its inputs is Dagster's internal; a test holds it to what Dagster records.
    """
    step = context.op_execution_context.get_step_execution_context()
    node = context.job_def.asset_layer.get(asset)
    versions: dict[dg.AssetKey, dg.DataVersion] = {}
    pointers: dict[dg.AssetKey, int | None] = {}
    for parent in node.parent_keys:
        found = step.maybe_fetch_and_get_input_asset_version_info(parent)
        versions[parent] = (found.data_version if found else None) or DEFAULT_DATA_VERSION
        pointers[parent] = found.storage_id if found else None
    return dg.DataProvenance(
        node.code_version or context.run.run_id, versions, pointers, is_user_provided=True
    )


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


def columns(manifest: Manifest, since: Since) -> dict[str, Any]:
    """A table's columns and their types, as Dagster shows them; nothing where it is no table.

    Args:
        manifest: Of one of its partitions.
        since: The columns that are younger than some of its partitions.
    """
    if not manifest.schema:
        return {}
    younger = {
        name: dg.TableColumnConstraints(other=[f"since {day}, null before"])
        for name, day in since.items()
    }
    columns = [
        dg.TableColumn(name, kind, constraints=younger.get(name))
        for name, kind in manifest.schema.items()
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def table_partition(asset: dg.AssetKey, partition: Partition) -> TablePartition:
    """The lake's name of one partition of an asset."""
    return TablePartition(table_name(asset), partition)
