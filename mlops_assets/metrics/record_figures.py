"""What Dagster's record says, in figures: runs, checks, what was made when, what runs by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)

from mlops_assets.components.publishing import table_name
from mlops_assets.metrics.figures import Figure

RECENT = timedelta(days=1)

TICKS = 10
"""So many of the last ticks are looked at: more failures in a row are no more of a reason."""

ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


@dataclass(frozen=True)
class RecordFigures:
    """The figures of one instance.

    Attributes:
        instance: Dagster's record.
        groups: The group of each asset.
        checks: The checks of all assets, with whether each is blocking.
        automation: What can run by itself, with whether it is recommended.
    """

    instance: dg.DagsterInstance
    groups: Mapping[dg.AssetKey, str]
    checks: Mapping[dg.AssetCheckKey, bool]
    automation: Mapping[str, bool]

    def read(self) -> list[Figure]:
        """The figures as of now."""
        return [
            *self._runs(),
            self._made(),
            self._checks(),
            *self._automation(),
            self._daemons(),
        ]

    def _runs(self) -> list[Figure]:
        now = Figure("mlops_runs", "Runs that are queued or under way, by status.", ("status",))
        recent = Figure(
            "mlops_runs_last_day", "Runs that ended within a day, by status.", ("status",)
        )
        since = datetime.now(UTC) - RECENT
        for status in dg.DagsterRunStatus:
            if status in ENDED:
                filters = dg.RunsFilter(statuses=[status], updated_after=since)
                recent.add(self.instance.get_runs_count(filters), status.value)
            else:
                filters = dg.RunsFilter(statuses=[status])
                now.add(self.instance.get_runs_count(filters), status.value)
        last = Figure(
            "mlops_last_run_end_timestamp_seconds",
            "When a run last ended, by how it ended.",
            ("status",),
        )
        for status in ENDED:
            for record in self.instance.get_run_records(
                dg.RunsFilter(statuses=[status]), limit=1, order_by="update_timestamp"
            ):
                last.add(record.update_timestamp.timestamp(), status.value)
        return [now, recent, last]

    def _made(self) -> Figure:
        found = Figure(
            "mlops_asset_last_materialization_timestamp_seconds",
            "When an asset was last materialized.",
            ("table", "group"),
        )
        for record in self.instance.get_asset_records(list(self.groups)):
            entry = record.asset_entry
            if entry.last_materialization is not None:
                found.add(
                    entry.last_materialization.timestamp,
                    table_name(entry.asset_key),
                    self.groups[entry.asset_key],
                )
        return found

    def _checks(self) -> Figure:
        failed = Figure(
            "mlops_failed_checks",
            "Checks of an asset whose newest outcome, of whichever partition, is a failure.",
            ("table", "blocking"),
        )
        summaries = self.instance.event_log_storage.get_asset_check_summary_records(
            list(self.checks)
        )
        counts: Counter[tuple[str, str]] = Counter()
        for key, summary in summaries.items():
            record = summary.last_completed_check_execution_record
            if record is not None:
                of = (table_name(key.asset_key), str(self.checks[key]).lower())
                counts[of] += record.status is Status.FAILED
        for of, count in sorted(counts.items()):
            failed.add(count, *of)
        return failed

    def _automation(self) -> list[Figure]:
        on = Figure(
            "mlops_automation_on",
            "Whether a schedule or sensor is switched on.",
            ("name", "recommended"),
        )
        failures = Figure(
            "mlops_automation_tick_failures",
            f"Ticks of a schedule or sensor that failed in a row, up to {TICKS}; 0 if it is off.",
            ("name",),
        )
        last = Figure(
            "mlops_automation_last_tick_timestamp_seconds",
            "When a schedule or sensor that is on last ticked.",
            ("name",),
        )
        states = {state.instigator_name: state for state in self.instance.all_instigator_state()}
        for name, recommended in sorted(self.automation.items()):
            state = states.get(name)
            running = state is not None and state.is_running
            on.add(running, name, str(recommended).lower())
            failures.add(0, name)
            if state is None or not running:
                continue
            ticks = self.instance.get_ticks(
                state.instigator_origin_id, state.selector_id, limit=TICKS
            )
            outcomes = [tick.status for tick in ticks if tick.status is not TickStatus.STARTED]
            in_a_row = next(
                (place for place, it in enumerate(outcomes) if it is not TickStatus.FAILURE),
                len(outcomes),
            )
            failures.add(in_a_row, name)
            if ticks:
                last.add(ticks[0].timestamp, name)
        return [on, failures, last]

    def _daemons(self) -> Figure:
        found = Figure(
            "mlops_daemon_heartbeat_timestamp_seconds",
            "When one of Dagster's daemons last said that it is alive.",
            ("daemon",),
        )
        for name, beat in self.instance.get_daemon_heartbeats().items():
            found.add(beat.timestamp, name)
        return found
