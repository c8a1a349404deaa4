"""A table whose days have different schemas, met by the steps that read them together."""

from collections.abc import Callable
from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from installation import FEATURES, Installation, asset_key

from mlops_assets.cli.backfill_plan import targets
from mlops_assets.cli.lineage import lineage_of, now
from mlops_assets.cli.names import open_names
from mlops_assets.components.partition_files import FILE
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Partition, TablePartition
from mlops_assets.settings import settings

FACTS = "marts/fct_flights"
NEW = [TablePartition(FACTS, Partition.of({"day": f"2013-01-0{day}"})) for day in (3, 4)]


def rewrite(installation: Installation, change: Callable[[pa.Table], pa.Table]) -> None:
    """Publish the last two days as code of a later time would have written them."""
    lake = installation.lake
    snapshot = lake.snapshot()
    with lake.transaction("tx-later", [FACTS]) as transaction:
        written = {}
        for key in NEW:
            [path] = snapshot.files([snapshot.stored(FACTS)[key.partition]])
            folder = transaction.scratch / key.folder
            folder.mkdir(parents=True)
            pq.write_table(change(pq.ParquetFile(path).read()), folder / FILE)
            written[key] = (describe_tables([folder])[folder], folder)
        transaction.write(written)
        transaction.publish("days of a later time", {})


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error)


def as_text(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index("distance_miles")
    return rows.set_column(place, "distance_miles", pc.cast(rows["distance_miles"], pa.string()))


def test_a_look_back_over_a_changed_type_is_refused_with_the_days_to_rebuild(
    built: Installation,
) -> None:
    rewrite(built, as_text)
    before = built.manifests()

    told = failure(built.materialize(FEATURES, "2013-01-04"))

    assert f"{FACTS} has the column distance_miles as int32 in 2013-01-01..2013-01-02" in told
    command = told.partition("`mlops-assets backfill ")[2].partition("`")[0]
    selection, _, days = command.partition(" --partitions ")
    graph = built.definitions.resolve_asset_graph()
    assert targets(graph, selection, days) == {asset_key(FACTS): ["2013-01-01", "2013-01-02"]}
    assert built.manifests() == before


def test_a_column_that_is_declared_as_younger_is_null_before_and_said_to_be(
    built: Installation,
) -> None:
    def with_pitch(rows: pa.Table) -> pa.Table:
        kept = rows.slice(1)
        return kept.append_column("pitch", pa.nulls(len(kept), pa.float64()))

    rewrite(built, with_pitch)
    told = failure(built.materialize(FEATURES, "2013-01-04"))
    assert f"{FACTS} lacks the column pitch in 2013-01-01..2013-01-02 (2 partitions)" in told

    since = {"since": {"pitch": "2013-01-03"}}
    declared = built.definitions.map_resolved_asset_specs(
        func=lambda spec: (
            spec.merge_attributes(metadata=since) if spec.key == asset_key(FACTS) else spec
        )
    )
    assert replace(built, definitions=declared).materialize(FEATURES, "2013-01-04").success

    result = open_names(settings(), declared.resolve_asset_graph()).find(
        "features/carrier_history:2013-01-04"
    )
    shown = lineage_of(built.lake, result, now(declared.resolve_asset_graph()))
    recorded = shown.to_json()["parameters"]["features/carrier_history"]
    assert recorded == {"since": {FACTS: {"pitch": "2013-01-03"}}}
    assert "2013-01-03" in shown.to_text()
