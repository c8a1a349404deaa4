"""Inputs are pinned, and one commit names a result: its bytes, its pin and the run that made it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from installation import DAILY, WHOLE, Installation, asset_key

from mlops_assets.components.publishing import lake_partition, materializations
from mlops_assets.lake import (
    File,
    Manifest,
    Partition,
    Publication,
    PublishedPartition,
    TablePartition,
)


def test_every_materialization_names_the_commit_whose_bytes_are_its_data_version(
    built: Installation,
) -> None:
    graph = built.definitions.resolve_asset_graph()
    for asset in (*DAILY, *WHOLE):
        partitions = graph.get(asset_key(asset)).partitions_def
        keys = sorted(built.materialized(asset)) if partitions else [None]
        assert keys
        for key in keys:
            event = built.materialization(asset, key)
            commit = str(event.metadata["lake/commit"].value)
            pin = event.metadata["lake/pin"].value
            assert built.lake.commit_info(commit)["parents"] == [pin]

            part = lake_partition(partitions, key)
            [stored] = built.lake.snapshot(commit).require(asset, [part]).values()
            paths = built.lake.snapshot(commit).files([stored])
            names = [file.name for file in stored.manifest.files]
            found = Manifest(tuple(map(File.of, names, paths)))
            assert event.tags is not None
            assert event.tags["dagster/data_version"] == found.data_version, (asset, key)
            assert event.metadata["dagster/partition_row_count"].value == stored.manifest.rows


def test_all_tables_of_one_step_have_one_commit_and_it_names_their_run(
    built: Installation,
) -> None:
    events = [built.materialization(asset, "2013-01-02") for asset in DAILY if "stg" in asset]
    [commit] = {str(event.metadata["lake/commit"].value) for event in events}
    metadata = built.lake.commit_info(commit)["metadata"]
    run = built.instance.get_run_by_id(metadata["dagster/run_id"])
    assert run is not None
    assert run.is_success
    assert metadata["code_version/staging/stg_flights"] == _code_version(built)


def test_a_result_that_did_not_change_keeps_the_name_of_the_commit_that_first_held_it(
    built: Installation,
) -> None:
    first = built.materialization("raw/flights", "2013-01-02").metadata
    assert built.materialize(["raw/flights"], ("2013-01-01", "2013-01-03")).success
    again = built.materialization("raw/flights", "2013-01-02").metadata

    assert (first["lake/changed"].value, again["lake/changed"].value) == (True, False)
    assert again["lake/commit"] == first["lake/commit"]
    assert again["lake/pin"] == first["lake/pin"]


def _code_version(installation: Installation) -> str | None:
    graph = installation.definitions.resolve_asset_graph()
    return graph.get(asset_key("staging/stg_flights")).code_version


def test_a_record_names_the_inputs_of_its_own_run_while_another_records_the_same_asset() -> None:
    days = ("2013-01-01", "2013-01-02")
    parts = [
        PublishedPartition(
            TablePartition("table", Partition.of({"day": day})),
            Manifest(()),
            commit="commit",
            pin="pin",
            changed=True,
        )
        for day in days
    ]

    @dg.asset(
        name="table",
        partitions_def=dg.DailyPartitionsDefinition("2013-01-01"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version="ours",
    )
    def table(context: dg.AssetExecutionContext) -> Iterator[Any]:
        events = materializations(context, Publication("pin", "commit", "merge", parts))
        yield next(events)
        context.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "table", partition="2013-01-09", tags={"dagster/code_version": "theirs"}
            )
        )
        yield from events

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [table],
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[1],
            },
        ).success
        for day in days:
            [record] = instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey("table"), asset_partitions=[day]), limit=1
            ).records
            assert record.asset_materialization is not None
            assert (record.asset_materialization.tags or {})["dagster/code_version"] == "ours"
            assert record.asset_materialization.metadata["lake/commit"].value == "commit"
