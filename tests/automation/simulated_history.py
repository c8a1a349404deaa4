"""A history of arrivals, runs and ticks, simulated: who is asked for what, and when."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.test_utils import create_run_for_test

START = datetime(2014, 1, 1, 12, tzinfo=UTC)
DAYS = dg.DailyPartitionsDefinition("2013-06-01", end_date="2013-07-01")

Asked = set[tuple[str, str | None]]


def asset(
    name: str,
    condition: dg.AutomationCondition[Any] | None = None,
    *,
    deps: Sequence[Any] = (),
    partitions: dg.PartitionsDefinition[str] | None = DAYS,
    code: str = "1",
    checks: Sequence[dg.AssetCheckSpec] = (),
    group: str = "default",
) -> dg.AssetsDefinition:
    """An asset whose runs do what their tags tell them: `content` and `audit`."""
    key = dg.AssetKey(name.split("/"))

    @dg.multi_asset(
        name=name.replace("/", "_"),
        specs=[
            dg.AssetSpec(
                key,
                deps=deps,
                automation_condition=condition,
                code_version=code,
                group_name=group,
            )
        ],
        check_specs=checks,
        partitions_def=partitions,
        can_subset=bool(checks),
    )
    def told(context: dg.AssetExecutionContext) -> Iterator[Any]:
        passed = context.run.tags.get("audit") != "fails"
        for check in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(asset_key=key, check_name=check.name, passed=passed)
        if context.selected_asset_keys:
            if not passed:
                raise dg.Failure("the audit failed", allow_retries=False)
            version = dg.DataVersion(context.run.tags["content"])
            yield dg.MaterializeResult(asset_key=key, data_version=version)

    return told


def audit(name: str) -> dg.AssetCheckSpec:
    """A blocking check of an asset."""
    return dg.AssetCheckSpec("audit", asset=name.split("/"), blocking=True)


@dataclass
class Run:
    """A run that is under way.

    Attributes:
        record: Dagster's record of it.
        made: What it is to make.
    """

    record: dg.DagsterRun
    made: list[tuple[str, str | None]]


@dataclass
class History:
    """What happened, in Dagster's record, and the clock.

    Attributes:
        assets: The graph.
        instance: The record.
        now: The time of the last tick.
    """

    assets: Sequence[dg.AssetsDefinition]
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    now: datetime = START
    _cursor: AssetDaemonCursor | None = None
    _resolved: tuple[list[dg.AssetsDefinition], dg.Definitions] | None = None

    def tick(self, now: datetime | None = None, *, evaluations: int = 2) -> Asked:
        """Evaluate every condition some times within a minute, from a time if one is given.

        Returns:
            What is asked for, each partition once.
        """
        asked: Asked = set()
        for place in range(evaluations):
            later = self.now + timedelta(seconds=15)
            found = self.evaluate(now if now and not place else later)
            assert not found & asked, "asked for twice"
            asked |= found
        return asked

    def evaluate(self, now: datetime) -> Asked:
        """Evaluate every condition once."""
        self.now = now
        if self._resolved is None or self._resolved[0] != list(self.assets):
            self._resolved = list(self.assets), dg.Definitions(list(self.assets))
        found = dg.evaluate_automation_conditions(
            self._resolved[1], self.instance, evaluation_time=now, cursor=self._cursor
        )
        self._cursor = found.cursor
        return {
            (asked.asset_key.to_user_string(), asked.partition_key)
            for asked in found._requested_asset_partitions
        }

    def arrives(self, name: str, content: str, partition: str | None = None) -> None:
        """A partition is made, with a content."""
        self.ends(self.begins([(name, partition)]), content)

    def begins(
        self, made: Iterable[tuple[str, str | None]], tags: dict[str, str] | None = None
    ) -> Run:
        """A run is started."""
        run = Run(
            create_run_for_test(self.instance, status=dg.DagsterRunStatus.STARTED, tags=tags or {}),
            list(made),
        )
        for name, partition in run.made:
            planned = AssetMaterializationPlannedData(asset_key(name), partition=partition)
            event = DagsterEvent.build_asset_materialization_planned_event(
                run.record.job_name, "step", planned
            )
            self.instance.report_dagster_event(event, run.record.run_id)
        return run

    def ends(self, run: Run, content: str) -> None:
        """It publishes what it was to make, with a content."""
        for name, partition in run.made:
            made = dg.AssetMaterialization(
                asset_key(name), partition=partition, tags={"dagster/data_version": content}
            )
            event = DagsterEvent(
                DagsterEventType.ASSET_MATERIALIZATION.value,
                job_name=run.record.job_name,
                step_key="step",
                event_specific_data=StepMaterializationData(made),
            )
            self.instance.report_dagster_event(event, run.record.run_id)
        done = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, job_name=run.record.job_name)
        self.instance.report_dagster_event(done, run.record.run_id)

    def fails(self, run: Run) -> None:
        """It ends with nothing made."""
        self.instance.report_run_failed(run.record)

    def runs(
        self, name: str, partition: str | None, content: str, *, audit: str = "passes"
    ) -> None:
        """An asset is run in earnest, with its checks."""
        dg.materialize(
            self._of(name),
            instance=self.instance,
            partition_key=partition,
            tags={"content": content, "audit": audit},
            raise_on_error=False,
        )

    def audits(self, name: str, *, audit: str = "passes") -> None:
        """The checks of an asset are run by themselves."""
        dg.materialize(
            self._of(name),
            selection=dg.AssetSelection.checks_for_assets(asset_key(name)),
            instance=self.instance,
            tags={"audit": audit},
            raise_on_error=False,
        )

    def _of(self, name: str) -> list[dg.AssetsDefinition]:
        return [one for one in self.assets if asset_key(name) in one.keys]


def asset_key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def days(name: str, first: str, last: str | None = None) -> Asked:
    """Days of June of an asset, by `dd`."""
    return {(name, f"2013-06-{day:02}") for day in range(int(first), int(last or first) + 1)}
