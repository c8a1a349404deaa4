"""Days that are made or fail as told, and a monitor of them, in a record of their own."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mlops_assets.components import gate_checks
from mlops_assets.defs.automation import alerts

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-03-01")
MONITOR = dg.AssetKey(["toy", "monitor_drift"])
NO_ALARM = gate_checks.specs(MONITOR, {"no_alarm": "It raises no alarm."}, DAYS)
BRANCH = "tx-made-up-raw__days-0"


class Clock:
    """The sensors' clock, which the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_400_000_000.0
        monkeypatch.setattr(
            alerts, "time", SimpleNamespace(time=lambda: self.now, monotonic=lambda: 0.0)
        )


@dataclass
class World:
    """What the test decides, and what came of it.

    Attributes:
        instance: Dagster's record.
        broken: Days that cannot be made.
        alarming: Days on which the monitor raises an alarm.
    """

    instance: dg.DagsterInstance
    broken: set[str] = field(default_factory=set)
    alarming: set[str] = field(default_factory=set)

    def definitions(self, *sensors: dg.SensorDefinition) -> dg.Definitions:
        @dg.asset(
            key=["raw", "days"],
            partitions_def=DAYS,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def days(context: dg.AssetExecutionContext) -> None:
            for day in self.broken.intersection(context.partition_keys):
                raise dg.Failure(
                    f"the file of {day} is broken. What was built is kept on branch {BRANCH}."
                )

        @dg.asset(key=MONITOR, partitions_def=DAYS, check_specs=NO_ALARM)
        def monitor(context: dg.AssetExecutionContext) -> Any:
            yield dg.MaterializeResult()
            day = context.partition_key
            yield dg.AssetCheckEvaluation(
                asset_key=MONITOR,
                check_name="no_alarm",
                passed=day not in self.alarming,
                severity=dg.AssetCheckSeverity.WARN,
                blocking=False,
                description=f"wind has moved on {day}." if day in self.alarming else "all quiet.",
                partition=day,
            )

        @dg.op
        def step_without_assets() -> None:
            raise RuntimeError("password in the clear")

        @dg.job
        def other_job() -> None:
            step_without_assets()

        return dg.Definitions(
            assets=[days, monitor],
            jobs=[other_job],
            sensors=sensors,
            executor=dg.in_process_executor,
            loggers={"console": dg.colored_console_logger.configured({"log_level": "CRITICAL"})},
        )

    @cached_property
    def job(self) -> dg.JobDefinition:
        return self.definitions().get_repository_def().get_implicit_global_asset_job_def()

    def run(self, asset: str, day: str) -> str:
        """Make a day of an asset; the run's id."""
        return self._execute(asset, partition_key=day)

    def run_range(self, asset: str, first: str, last: str) -> str:
        """Make days of an asset in one run; the run's id."""
        span = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        return self._execute(asset, tags=span)

    def _execute(self, asset: str, **how: Any) -> str:
        return self.job.execute_in_process(
            asset_selection=[dg.AssetKey(asset.split("/"))],
            instance=self.instance,
            raise_on_error=False,
            **how,
        ).run_id

    def fail_elsewhere(self) -> str:
        job = self.definitions().resolve_job_def("other_job")
        return job.execute_in_process(instance=self.instance, raise_on_error=False).run_id


@dataclass
class Ticks:
    """A sensor of a world, ticked by hand as the daemon would.

    Attributes:
        cursor: What the last tick that succeeded left.
        told: What the last tick showed.
    """

    world: World
    sensor: dg.SensorDefinition
    cursor: str | None = None
    told: str = ""

    @cached_property
    def definitions(self) -> dg.Definitions:
        return self.world.definitions(self.sensor)

    def tick(self) -> str:
        with dg.build_sensor_context(
            instance=self.world.instance, cursor=self.cursor, definitions=self.definitions
        ) as context:
            found = self.sensor.evaluate_tick(context)
        self.cursor, self.told = found.cursor, found.skip_message or ""
        return self.told

    def state(self, channel: str) -> dict[str, Any]:
        return dict(json.loads(self.cursor or "{}")[channel])
