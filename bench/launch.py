"""One process that materializes assets, and tells what their checks say.

Run as `python -m bench.launch ASSET[,ASSET…]=FIRST..LAST…`, with the state directory in
`MLOPS_HOME`. Prints one JSON object for each argument: whether it succeeded, its seconds, and the
checks that did not pass. `without:ASSET[,ASSET…]=FIRST..LAST` takes days away. Nothing is recorded
in the state directory's Dagster.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from typing import TYPE_CHECKING, Any

from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import dagster as dg

WITHOUT = "without:"


def launch(
    job: dg.JobDefinition, instance: dg.DagsterInstance, assets: list[str], keys: list[str]
) -> dict[str, Any]:
    """Materialize partitions of assets in one run.

    Args:
        job: The job of all assets.
        instance: Dagster's record.
        assets: Their keys, parted by `/`.
        keys: The first and the last partition.
    """
    import dagster as dg

    first, last = keys[0], keys[-1]
    span = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    started = time.perf_counter()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(asset.split("/")) for asset in assets],
        instance=instance,
        partition_key=first if first == last else None,
        tags={} if first == last else span,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    evaluations = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return {
        "assets": assets,
        "succeeded": result.success,
        "seconds": time.perf_counter() - started,
        "failed_checks": [
            {
                "asset": found.asset_key.path[-1],
                "check": found.check_name,
                "partition": found.partition,
                "about": str(found.metadata["about"].value) if "about" in found.metadata else "",
                "sentence": found.description,
            }
            for found in evaluations
            if not found.passed
        ],
    }


def take_away(tables: list[str], keys: list[str]) -> None:
    """Take days of tables away, as if they had never come."""
    from mlops_assets.defs.resources import find_lake
    from mlops_assets.lake import Partition, TablePartition
    from mlops_assets.settings import settings

    days = DayWindow(*(date.fromisoformat(keys[place]) for place in (0, -1)))
    lake = find_lake(settings())
    with lake.transaction("tx-days-that-never-came", tables) as transaction:
        transaction.remove(
            TablePartition(table, Partition.of({"day": day.isoformat()}))
            for table in tables
            for day in days
        )
        transaction.publish("days that never came", {})


def main() -> None:
    """Carry out the command line's arguments, one after the other."""
    import dagster as dg

    from mlops_assets.definitions import defs

    job = defs().get_repository_def().get_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for argument in sys.argv[1:]:
            assets, _, keys = argument.rpartition("=")
            if assets.startswith(WITHOUT):
                take_away(assets.removeprefix(WITHOUT).split(","), keys.split(".."))
                continue
            print(
                json.dumps(launch(job, instance, assets.split(","), keys.split(".."))), flush=True
            )


if __name__ == "__main__":
    main()
