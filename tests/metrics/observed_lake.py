"""A state directory with something to see: tables, monitors with an alarm, runs, checks, ticks."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo
from lake_tables import publish

from mlops_assets.cli.automation import switch
from mlops_assets.cli.record import opened_record
from mlops_assets.defs.resources import connect
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.ml.samples import SAMPLES_FILE, Sample, Samples
from mlops_assets.settings import settings

PROBLEM = "flight_delay"
DAY = "2013-06-14"

MEASURED: dict[str, list[Sample]] = {
    "performance": [
        *(
            Sample.of(name, value, days=days)
            for days in ("1", "7", "28")
            for name, value in {
                "roc_auc": 0.71,
                "brier": 0.15,
                "log_loss": 0.47,
                "calibration_error": -0.02,
                "positive_share": 0.24,
                "labelled_rows": 800.0,
            }.items()
        ),
        Sample.of("roc_auc", 0.66, days="28", carrier="UA"),
        Sample.of("alarms", 0.0),
    ],
    "drift": [
        Sample.of("psi", 0.41, feature="weather_now__temperature", days="1"),
        Sample.of("psi_limit", 0.2, feature="weather_now__temperature"),
        Sample.of("ks", 0.33, feature="weather_now__temperature", days="1"),
        Sample.of("alarms", 1.0),
        Sample.of("alarm", 1.0, subject="weather_now__temperature"),
    ],
    "quality": [
        Sample.of("missing_share", 0.03, feature="weather_now__wind", days="1"),
        Sample.of("new_value_share", 0.9, feature="weather_now__temperature", days="1"),
        Sample.of("quarantined_share", 0.0, table="raw/flights", days="1"),
    ],
    "freshness": [
        Sample.of("age_hours_mean", 1.4, view="weather_now"),
        Sample.of("expired_share", 0.0, view="weather_now", days="1"),
    ],
}


def measure(lake: Lake, day: str, measured: dict[str, list[Sample]], branch: str) -> None:
    """Publish a day of monitors."""
    publish(
        lake,
        branch,
        {
            TablePartition(f"{PROBLEM}/monitor_{name}", Partition.of({"day": day})): {
                SAMPLES_FILE: Samples(samples=tuple(samples)).to_json()
            }
            for name, samples in measured.items()
        },
    )


def fill() -> None:
    """Put it into the state directory of this process's settings."""
    found = settings()
    lake = connect(found)
    days = [Partition.of({"day": day}) for day in ("2013-06-13", DAY)]
    publish(
        lake,
        "tx-tables",
        {
            TablePartition(table, day): {"data.parquet": day.path.encode()}
            for table in ("raw/flights", f"{PROBLEM}/predictions")
            for day in days
        },
    )
    measure(lake, DAY, MEASURED, "tx-monitors")
    switch(["tags", "weekly_retention"], on=True)
    with opened_record(found) as instance:
        _record(instance)


def _record(instance: dg.DagsterInstance) -> None:
    flights = dg.AssetKey(["raw", "flights"])
    instance.report_runless_asset_event(dg.AssetMaterialization(flights, partition=DAY))
    for asset, check, partition in (
        (dg.AssetKey([PROBLEM, "evaluation_report"]), "brier_skill", "2013-06|JFK"),
        (flights, "contract", DAY),
    ):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset, check_name=check, passed=False, partition=partition
            )
        )

    @dg.op
    def nothing() -> None:
        pass

    @dg.op
    def something() -> None:
        raise RuntimeError("it fails")

    @dg.job
    def works() -> None:
        nothing()

    @dg.job
    def fails() -> None:
        something()

    for job in (works, fails):
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)
    now = time.time()
    instance.add_daemon_heartbeat(DaemonHeartbeat(now, "SENSOR", None, None))
    for state in instance.all_instigator_state():
        fails = state.instigator_name == "tags"
        for at in (now - 60, now - 30, now):
            instance.create_tick(
                TickData(
                    instigator_origin_id=state.instigator_origin_id,
                    instigator_name=state.instigator_name,
                    instigator_type=state.instigator_type,
                    status=TickStatus.FAILURE if fails else TickStatus.SKIPPED,
                    timestamp=at,
                    selector_id=state.selector_id,
                    error=SerializableErrorInfo("MLflow is down", [], None) if fails else None,
                )
            )


def copied_dbt(parsed_home: Path, home: Path) -> Path:
    """A state directory in which dbt's project is parsed."""
    home.mkdir()
    (home / "dbt").symlink_to(parsed_home / "dbt")
    return home
