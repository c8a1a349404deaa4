"""A process that computes nothing: ten assets over a year of days in one run, only recorded.

Run as `python -m bench.no_op_year stock|pooled HOME`; prints what the run cost as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import dagster as dg

from bench.bookkeeping import ASSETS, POOLED
from bench.product import Ledger, recording

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01")


def _asset(number: int) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"asset_{number}",
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def nothing() -> None:
        """Nothing, so that all of the run's time is Dagster's own."""

    return nothing


def main(storage: str, home: Path) -> None:
    """Run the year once in an instance at `home` with the named storage of events."""
    settings: dict[str, object] = {"telemetry": {"enabled": False}}
    if storage == POOLED:
        settings["event_log_storage"] = {
            "module": "mlops_assets.compute.event_log",
            "class": "PooledSqliteEventLogStorage",
            "config": {"dagster_home": str(home)},
        }
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(json.dumps(settings))
    assets = [_asset(number) for number in range(ASSETS)]
    days = DAYS.get_partition_keys()
    ledger = Ledger()
    wall, cpu = time.perf_counter(), time.process_time()
    with dg.DagsterInstance.from_config(str(home)) as instance, recording(ledger):
        dg.materialize(
            assets,
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[-1],
            },
        )
    spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**spent, "recording": asdict(ledger)}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
