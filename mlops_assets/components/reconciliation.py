"""Dagster's record brought up to what the base branch holds.

A step merges first and records then. Killed between the two, it leaves content on the base branch
that no event names; merging a data branch brings content that this instance's runs never made.
Both are reported here as the materializations they are, from what the lake says alone.

Belongs here: finding and reporting them. Does not: what a step records of its own results
(`publishing`), nor content that the record names and the lake lacks, which nothing can mend.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from mlops_assets.components import publishing, writer
from mlops_assets.components.following import FOLLOWED
from mlops_assets.components.provenance import CODE_VERSION
from mlops_assets.components.younger import since_of
from mlops_assets.lake import (
    Lake,
    PublishedPartition,
    TablePartition,
    changed_between,
    makers,
)

UNKNOWN_WRITER_SECONDS = 600.0
"""How long a writer on another machine is given to record a merge: a year's events took 30 s."""

SHOWN_AT_ONCE = 500

HOW = "recorded by"
RECONCILED = "reconciliation: the lake held it, and no event named it"


@dataclass(frozen=True)
class Unrecorded:
    """What the base branch holds and Dagster's newest event of the partition does not name.

    Attributes:
        head: A head of the base branch, all of which was looked at.
        partitions: It, inputs before what was made of them.
        recording: How many partitions more are left to a process that may yet record them.
    """

    head: str
    partitions: Sequence[PublishedPartition]
    recording: int


def unrecorded(
    lake: Lake,
    instance: dg.DagsterInstance,
    graph: dg.AssetGraph,
    *,
    since: str | None = None,
    by_others: bool = False,
) -> Unrecorded:
    """Compare the base branch with Dagster's record.

    Args:
        lake: The lake.
        instance: The record of its base branch.
        graph: The assets.
        since: An earlier head that was recorded whole: only tables that changed are looked at.
        by_others: Whether the content came from another branch, whose writers, alive or not,
            record it elsewhere.

    Raises:
        LakeError: The lake does not answer, or a manifest is not readable.
    """
    looked_at = lake.head()
    tables = (
        None if since is None else {key.table for key in changed_between(lake, since, looked_at)}
    )
    # The record is read before the lake: read after it, it could name what was published in
    # between, and the older content would be reported over it.
    named = {
        asset: _recorded_versions(instance, graph, asset)
        for asset in graph.toposorted_asset_keys
        if asset in graph.materializable_asset_keys
        and (tables is None or publishing.table_name(asset) in tables)
    }
    head = lake.snapshot()
    found: list[PublishedPartition] = []
    recording = 0
    for asset, versions in named.items():
        lacking = {
            part.key: part.manifest
            for part in head.stored(publishing.table_name(asset)).values()
            if versions.get(_partition_key(graph, asset, part.key)) != part.manifest.data_version
        }
        parts = [
            PublishedPartition(key, lacking[key], commit, pin, changed=True)
            for key, (commit, pin) in makers(lake, head.commit, lacking).items()
        ]
        left = {
            commit: not by_others and _to_its_writer(lake, commit)
            for commit in {part.commit for part in parts}
        }
        found += sorted((part for part in parts if not left[part.commit]), key=lambda p: p.key)
        recording += sum(left[part.commit] for part in parts)
    return Unrecorded(looked_at, found, recording)


def report(
    lake: Lake,
    instance: dg.DagsterInstance,
    graph: dg.AssetGraph,
    partitions: Sequence[PublishedPartition],
    *,
    told_by: dg.DagsterInstance | None = None,
) -> list[dg.AssetMaterialization]:
    """Record partitions as materializations that belong to no run of the instance.

    Args:
        lake: The lake that holds them.
        instance: Where to record them.
        graph: The assets.
        partitions: They, as `unrecorded` gives them.
        told_by: The record of the branch that they came from: what it shows of them is shown here.

    Returns:
        What was recorded.
    """
    recorded = []
    # Table by table, since what is made of a table names its newest record.
    for _, group in groupby(partitions, key=lambda part: part.key.table):
        parts = list(group)
        shown = {} if told_by is None else _shown(told_by, graph, parts)
        events = list(materializations(lake, instance, graph, parts, shown))
        _record(instance, events)
        recorded += events
    return recorded


def _record(instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization]) -> None:
    """Record runless materializations as one batch.

    Dagster's public `report_runless_asset_event` stores them one by one, each with its own fsync:
    for a year of partitions that took a minute. This is that method with a batch; a test holds it
    to what the public one records.
    """
    batch = str(uuid4())
    for place, event in enumerate(events, start=1):
        instance.report_dagster_event(
            DagsterEvent(
                event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                event_specific_data=StepMaterializationData(event),
                job_name=RUNLESS_JOB_NAME,
            ),
            run_id=RUNLESS_RUN_ID,
            batch_metadata=DagsterEventBatchMetadata(batch, is_end=place == len(events)),
        )


def materializations(
    lake: Lake,
    instance: dg.DagsterInstance,
    graph: dg.AssetGraph,
    partitions: Iterable[PublishedPartition],
    shown: Mapping[TablePartition, Mapping[str, Any]] | None = None,
) -> Iterator[dg.AssetMaterialization]:
    """Partitions of the lake as the events that Dagster is to know them by.

    Each is made when it is asked for, since it names the newest records of its inputs.

    Args:
        lake: The lake that holds them.
        instance: The record that they are for.
        graph: The assets.
        partitions: They.
        shown: What else to show of each.
    """
    provenance: dict[tuple[dg.AssetKey, str], dg.DataProvenance] = {}
    for table, group in groupby(partitions, key=lambda part: part.key.table):
        asset = dg.AssetKey(table.split("/"))
        parts = list(group)
        for part in parts:
            made = asset, part.commit
            if made not in provenance:
                commit = lake.commit_info(part.commit)
                provenance[made] = _provenance(instance, graph, asset, commit)
            yield dg.AssetMaterialization(
                asset_key=asset,
                partition=_partition_key(graph, asset, part.key),
                metadata={
                    **(shown or {}).get(part.key, {}),
                    **publishing.published_metadata(part),
                    # The UI describes a table by the newest of its events; on each of a year's
                    # they doubled the time that recording takes.
                    **(
                        publishing.columns(part.manifest, since_of(graph, part.key.table))
                        if part is parts[-1]
                        else {}
                    ),
                    HOW: RECONCILED,
                },
                tags=publishing.version_tags(part, provenance[made]),
            )


def _shown(
    told_by: dg.DagsterInstance, graph: dg.AssetGraph, parts: Sequence[PublishedPartition]
) -> dict[TablePartition, Mapping[str, Any]]:
    """What a record shows of partitions of one table, where it names the same content."""
    asset = dg.AssetKey(parts[0].key.table.split("/"))
    wanted = {_partition_key(graph, asset, part.key): part for part in parts}
    found: dict[TablePartition, Mapping[str, Any]] = {}
    cursor = None
    while len(found) < len(wanted):
        page = told_by.fetch_materializations(asset, limit=SHOWN_AT_ONCE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            part = wanted.get(event.partition) if event else None
            if event and part and _data_version(event) == part.manifest.data_version:
                metadata = {key: it for key, it in event.metadata.items() if key != FOLLOWED}
                found.setdefault(part.key, metadata)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


def _partition_key(graph: dg.AssetGraph, asset: dg.AssetKey, key: TablePartition) -> str | None:
    return publishing.partition_key(graph.get(asset).partitions_def, key.partition)


def _recorded_versions(
    instance: dg.DagsterInstance, graph: dg.AssetGraph, asset: dg.AssetKey
) -> dict[str | None, str]:
    """The data version that the newest materialization of each partition names.

    By partition in one query, which Dagster's automation uses and its public methods do not offer.
    """
    tag = publishing.DATA_VERSION_TAG
    if graph.get(asset).partitions_def is None:
        event = instance.get_latest_materialization_event(asset)
        return {None: _data_version(event.asset_materialization)} if event else {}
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, [tag]
    )
    return {key: found.get(tag, "") for key, found in tags.items()}


def _data_version(materialization: dg.AssetMaterialization | None) -> str:
    tags = materialization.tags if materialization else None
    return (tags or {}).get(publishing.DATA_VERSION_TAG, "")


def _to_its_writer(lake: Lake, commit: str) -> bool:
    """Whether a commit's writer may still be about to record it."""
    info = lake.commit_info(commit)
    alive = writer.is_alive(info["metadata"])
    if alive is None:
        return bool(time.time() - info["creation_date"] < UNKNOWN_WRITER_SECONDS)
    return alive


def _provenance(
    instance: dg.DagsterInstance,
    graph: dg.AssetGraph,
    asset: dg.AssetKey,
    commit: Mapping[str, Any],
) -> dg.DataProvenance:
    """The code that made a commit, and the record of its inputs as it was then.

    Where the record is younger than the commit, as a new branch's is, the inputs are taken as they
    are recorded now. Without any, Dagster would show the asset as out of date.
    """
    versions: dict[dg.AssetKey, dg.DataVersion] = {}
    pointers: dict[dg.AssetKey, int | None] = {}
    made = datetime.fromtimestamp(commit["creation_date"], UTC).timestamp()
    for parent in sorted(graph.get(asset).parent_keys):
        for before in (made, None):
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=parent, before_timestamp=before), limit=1
            ).records
            if records:
                versions[parent] = dg.DataVersion(_data_version(records[0].asset_materialization))
                pointers[parent] = records[0].storage_id
                break
    code = commit["metadata"].get(f"{CODE_VERSION}{publishing.table_name(asset)}", "")
    return dg.DataProvenance(code, versions, pointers, is_user_provided=True)
