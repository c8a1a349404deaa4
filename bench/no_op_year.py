"""A process that computes nothing: assets over a year of days, only recorded.

Run as `python -m bench.no_op_year HOME [--runs N]`, where HOME has a `dagster.yaml`: all days of
ten assets in one run or, with `--runs`, one asset in so many runs of a day each. Prints what the
runs cost as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import dagster as dg

from bench.product import Ledger, recording

ASSETS = 10
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


def _year(instance: dg.DagsterInstance, days: Sequence[str]) -> None:
    dg.materialize(
        [_asset(number) for number in range(ASSETS)],
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        },
    )


def main(home: Path, runs: int) -> None:
    """Make the year in the instance at `home`, in one run or, `runs` of them, in a run a day."""
    days = DAYS.get_partition_keys()
    ledger = Ledger()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        if runs:
            # What the first run of a process does besides, once.
            dg.materialize([_asset(0)], instance=instance, partition_key=days[-1])
        wall, cpu = time.perf_counter(), time.process_time()
        with recording(ledger):
            if not runs:
                _year(instance, days)
            for day in days[:runs]:
                dg.materialize([_asset(0)], instance=instance, partition_key=day)
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**spent, "recording": asdict(ledger)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    main(options.home, options.runs)
