"""Schedules over simulated ticks: what each asks for, on days when clocks change too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator

from mlops_assets.components.weekly_digest import Digest, digest
from mlops_assets.defs.automation import schedules
from mlops_assets.defs.automation.retention import weekly_retention
from mlops_assets.defs.automation.run_tags import RETRIES, STARTED_BY

NEW_YORK, UTC = ZoneInfo("America/New_York"), ZoneInfo("UTC")
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def local(year: int, month: int, day: int, hour: int, minute: int, fold: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=NEW_YORK, fold=fold)


@pytest.mark.parametrize(
    ("tick", "day"),
    [
        (local(2026, 3, 8, 2, 30), date(2026, 3, 7)),
        (local(2026, 3, 8, 0, 30), date(2026, 3, 7)),
        (local(2026, 3, 9, 2, 30), date(2026, 3, 8)),
        (local(2026, 11, 1, 2, 30), date(2026, 10, 31)),
        (local(2026, 11, 1, 1, 30, fold=0), date(2026, 10, 31)),
        (local(2026, 11, 1, 1, 30, fold=1), date(2026, 10, 31)),
        (local(2026, 11, 2, 2, 30), date(2026, 11, 1)),
        (local(2013, 6, 15, 6, 30), date(2013, 6, 14)),
    ],
)
def test_a_tick_knows_which_local_day_is_over(tick: datetime, day: date) -> None:
    assert schedules.day_before(tick) == day
    assert schedules.day_before(tick.astimezone(UTC)) == day


@pytest.mark.parametrize("around", [date(2026, 3, 8), date(2026, 11, 1)])
@pytest.mark.parametrize("cron", ["30 6 * * *", "30 2 * * *"])
def test_every_day_has_one_tick_where_clocks_change(around: date, cron: str) -> None:
    start = datetime.combine(around - timedelta(days=2), datetime.min.time(), NEW_YORK)
    ticks = cron_string_iterator(start.timestamp(), cron, schedules.LOCAL_ZONE)
    days = [schedules.day_before(next(ticks)) for _ in range(5)]
    assert days == [around + timedelta(days=back) for back in range(-3, 2)]


@pytest.mark.parametrize(
    ("days", "made", "spans"),
    [
        ("abcd", "", [("a", "d")]),
        ("abcd", "abcd", []),
        ("abcd", "bc", [("a", "a"), ("d", "d")]),
        ("abcde", "c", [("a", "b"), ("d", "e")]),
        ("", "", []),
    ],
)
def test_gaps(days: str, made: str, spans: list[tuple[str, str]]) -> None:
    assert schedules.gaps(list(days), set(made)) == spans


def test_old_gaps_take_turns_and_the_newest_is_always_asked_for() -> None:
    spans = [(f"2013-{number:03}", f"2013-{number:03}") for number in range(30)]
    ticks = [local(2013, 12, day, 6, 30) for day in range(1, 4)]
    asked = [schedules.of_the_tick(spans, tick) for tick in ticks]
    assert all(len(found) == schedules.SPANS_A_TICK for found in asked)
    assert all(found[-1] == spans[-1] and found == sorted(found) for found in asked)
    assert {span for found in asked for span in found} == set(spans)
    assert schedules.of_the_tick(spans[:5], ticks[0]) == spans[:5]
    assert schedules.of_the_tick([], ticks[0]) == []


RAW_DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-06")


@pytest.fixture(scope="module")
def raw() -> dg.RepositoryDefinition:
    """Two raw tables of five days, and one without days."""

    @dg.multi_asset(
        specs=[dg.AssetSpec(["raw", name], group_name="raw") for name in ("flights", "weather")],
        partitions_def=RAW_DAYS,
    )
    def daily(): ...

    @dg.asset(key=["raw", "planes"], group_name="raw")
    def planes() -> None: ...

    return dg.Definitions([daily, planes]).get_repository_def()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


def test_the_days_up_to_yesterday_that_are_missing_are_asked_for(
    raw: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    for day in (1, 2, 4):
        made(instance, "raw/flights", f"2013-01-0{day}")
    for day in range(1, 5):
        made(instance, "raw/weather", f"2013-01-0{day}")
    made(instance, "raw/planes")

    requests = ingest(raw, instance, local(2013, 1, 5, 6, 30))
    assert [described(request) for request in requests] == [
        ("raw/flights", "2013-01-03", "2013-01-03")
    ]
    assert {request.tags[STARTED_BY] for request in requests} == {"daily_ingest"}

    requests = ingest(raw, instance, local(2013, 1, 6, 6, 30))
    assert [described(request) for request in requests] == [
        ("raw/flights", "2013-01-03", "2013-01-03"),
        ("raw/flights", "2013-01-05", "2013-01-05"),
        ("raw/weather", "2013-01-05", "2013-01-05"),
    ]


def test_a_missed_tick_is_made_up_for_by_the_next(
    raw: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    made(instance, "raw/flights", "2013-01-01")
    requests = ingest(raw, instance, local(2013, 1, 5, 6, 30))
    assert set(map(described, requests)) == {
        ("raw/flights", "2013-01-02", "2013-01-04"),
        ("raw/weather", "2013-01-01", "2013-01-04"),
        ("raw/planes", None, None),
    }


def test_a_tick_that_is_repeated_asks_for_nothing_twice(
    raw: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    first, again, later = (
        [request.run_key for request in ingest(raw, instance, local(2013, 1, day, 6, 30))]
        for day in (4, 4, 5)
    )
    assert first == again
    assert not set(first) & set(later)


def test_a_day_after_the_last_that_is_declared_is_said_to_be_outside(
    raw: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    made(instance, "raw/planes")
    for name in ("flights", "weather"):
        for day in RAW_DAYS.get_partition_keys():
            made(instance, f"raw/{name}", day)
    found = tick(raw, instance, local(2026, 11, 21, 6, 30))
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == (
        "Yesterday, 2026-11-20, lies outside the days that are declared: raw/flights ends at "
        "2013-01-05 and raw/weather ends at 2013-01-05. All of those are there."
    )


def test_a_digest_tells_scores_decisions_alarms_and_failures() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tell(instance)
        now = datetime.now(UTC)
        found = digest(
            instance,
            now - timedelta(days=7),
            now + timedelta(minutes=1),
            home="/state",
            ui=None,
        )
        before = digest(
            instance,
            now - timedelta(days=14),
            now - timedelta(days=7),
            home="/state",
            ui=None,
        )
    assert found.title.endswith("1 report, 1 decision, 1 alarm, 1 failed run")
    assert "`toy` 2013-06-01: ROC AUC 0.712, ROC AUC of the baseline 0.640" in found.text
    assert "`toy` 2013-06-01: **promoted**: better" in found.text
    assert "toy/monitor_drift raises an alarm on 2013-06-01: wind_speed moved" in found.text
    assert "broken was not made: " in found.text
    assert "the file is HTML" in found.text
    assert before.title.endswith("no reports, no decisions, no alarms, no failed runs")


def test_the_job_of_the_digest_shows_it_on_its_runs_page() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        done = schedules.report_digest.execute_in_process(instance=instance)
    [event] = done.filter_events(lambda event: event.is_successful_output)
    assert "## Scores" in str(event.step_output_data.metadata["digest"].value)


@pytest.mark.parametrize("tick", [local(2026, 3, 9, 8, 0), local(2026, 11, 2, 8, 0)])
def test_the_week_of_a_digest_begins_where_the_one_before_ended(
    tick: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = []

    def noted(instance: object, since: datetime, until: datetime, **_: object) -> Digest:
        spans.append((since.astimezone(UTC), until.astimezone(UTC)))
        return Digest("title", "text")

    monkeypatch.setattr(schedules.weekly_digest, "digest", noted)
    with dg.DagsterInstance.ephemeral() as instance:
        for weeks in (1, 0):
            until = (tick - timedelta(weeks=weeks)).astimezone(UTC)
            schedules.report_digest.execute_in_process(
                instance=instance, tags={schedules.SCHEDULED_AT: until.isoformat()}
            )
    [before, now] = spans
    assert before[1] == now[0]
    assert now[1] == tick.astimezone(UTC)


def test_the_tag_of_a_tick_is_the_one_that_dagster_sets() -> None:
    from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG

    assert schedules.SCHEDULED_AT == SCHEDULED_EXECUTION_TIME_TAG


DAYS = dg.DailyPartitionsDefinition("2013-06-01", end_date="2013-06-03")


def tell(instance: dg.DagsterInstance) -> None:
    """A problem that was evaluated, decided on, alarmed about and once not made."""

    @dg.asset(key=["toy", "evaluation_report"], partitions_def=DAYS)
    def report():
        return dg.MaterializeResult(metadata={"ROC AUC": 0.712, "ROC AUC of the baseline": 0.64})

    @dg.asset(key=["toy", "champion"], partitions_def=DAYS)
    def champion():
        return dg.MaterializeResult(metadata={"why": dg.MetadataValue.md("**promoted**: better")})

    @dg.asset(
        key=["toy", "monitor_drift"],
        partitions_def=DAYS,
        check_specs=[
            dg.AssetCheckSpec(
                "no_alarm", asset=["toy", "monitor_drift"], partitions_def=DAYS, blocking=False
            )
        ],
    )
    def monitor():
        alarm = dg.AssetCheckResult(passed=False, description="wind_speed moved")
        return dg.MaterializeResult(check_results=[alarm])

    @dg.asset
    def broken() -> None:
        raise dg.Failure("the file is HTML")

    assets = [report, champion, monitor]
    dg.materialize(assets, instance=instance, partition_key="2013-06-01")
    dg.materialize([broken], instance=instance, raise_on_error=False)


def made(instance: dg.DagsterInstance, name: str, partition: str | None = None) -> None:
    key = dg.AssetKey(name.split("/"))
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


def tick(raw: dg.RepositoryDefinition, instance: dg.DagsterInstance, at: datetime) -> Any:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=raw
    )
    return schedules.daily_ingest(context)


def ingest(
    raw: dg.RepositoryDefinition, instance: dg.DagsterInstance, at: datetime
) -> list[dg.RunRequest]:
    found = tick(raw, instance, at)
    assert isinstance(found, list)
    return found


def described(request: dg.RunRequest) -> tuple[str, str | None, str | None]:
    [key] = request.asset_selection or []
    one = request.partition_key
    ends = (request.tags.get(FIRST, one), request.tags.get(LAST, one))
    return (key.to_user_string(), *ends)


def test_the_sweep_says_what_started_it_and_is_tried_again_when_it_is_killed() -> None:
    with dg.build_schedule_context() as context:
        [request] = weekly_retention.evaluate_tick(context).run_requests or ()
    assert request.tags.items() >= {STARTED_BY: "weekly_retention", **RETRIES}.items()
