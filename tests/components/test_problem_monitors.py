"""Monitors as assets: what they publish for a day, their check, and that neither depends on how."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_problem import Toy, problem_definitions

from mlops_assets.components.partition_files import FILE
from mlops_assets.components.provenance import Provenance
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Partition, TablePartition, makers
from mlops_assets.ml.samples import SAMPLES_FILE, Samples
from mlops_assets.monitors.finding import FINDINGS_FILE, Findings

FIRST = date(2013, 4, 1)
DAYS = 20
LAST = FIRST + timedelta(days=DAYS - 1)
CARRIERS = ("AA", "DL", "UA")
ROWS = 90

MONITORS = {
    "slices": ["carrier"],
    "outcomes": ["arrival_delay_minutes"],
    "raw_tables": ["raw/flights"],
    "reference_days": 10,
    "fewest_days": 7,
    # Ten days leave wide tails: at the default only a fault of a dozen deviations is an alarm.
    "alarm_probability": 1e-4,
}
NAMES = ("performance", "drift", "concept", "quality", "freshness")


def of_day(day: date, *, doubled: bool = False) -> tuple[pa.Table, pa.Table]:
    """A day's predictions, and its flights with what became of them."""
    draw = np.random.default_rng(day.toordinal())
    early = -draw.gamma(9, 0.6, ROWS)
    minutes = np.where(np.arange(ROWS) % 5 > 1, early, draw.exponential(20, ROWS)).round()
    carriers = [CARRIERS[row % 3] for row in range(ROWS)]
    if doubled:
        minutes = np.where([carrier == "UA" for carrier in carriers], 2 * minutes, minutes)
    keys = {
        "scheduled_departure_at": [
            datetime(day.year, day.month, day.day, 9 + row % 12) for row in range(ROWS)
        ],
        "origin": [("EWR", "JFK")[row % 2] for row in range(ROWS)],
        "carrier": carriers,
        "flight_number": list(range(ROWS)),
    }
    predictions = {
        **keys,
        "scheduled_departure_hour": [9 + row % 12 for row in range(ROWS)],
        "distance_miles": draw.choice([200, 700, 2400], ROWS),
        "predicted_at": keys["scheduled_departure_at"],
        "score": draw.random(ROWS),
    }
    events = {
        **keys,
        "is_late": [None if row == 0 else bool(late) for row, late in enumerate(minutes > 15)],
        "arrival_delay_minutes": minutes.astype(int),
    }
    # In another order than the predictions: they are joined by key.
    return pa.table(predictions), pa.table(events).take(list(range(ROWS))[::-1])


def publish(toy: Toy, days: list[date], *, doubled: bool = False) -> None:
    rows = {day: of_day(day, doubled=doubled) for day in days}
    publish_tables(
        toy,
        {
            "toy/predictions": {day: predictions for day, (predictions, _) in rows.items()},
            "marts/fct_flights": {day: events for day, (_, events) in rows.items()},
        },
    )


def publish_tables(toy: Toy, tables: Mapping[str, Mapping[date, pa.Table]]) -> None:
    folders: dict[TablePartition, Path] = {}
    for table, days in tables.items():
        for day, rows in days.items():
            folder = toy.folder / toy.lake.head()[:8] / table / str(day)
            folder.mkdir(parents=True)
            pq.write_table(rows, folder / FILE)
            folders[TablePartition(table, Partition.of({"day": str(day)}))] = folder
    described = describe_tables(list(folders.values()))
    with toy.lake.transaction(f"tx-{toy.lake.head()[:8]}", list(tables)) as transaction:
        transaction.write({key: (described[folder], folder) for key, folder in folders.items()})
        transaction.publish("made-up days", {})


@contextmanager
def monitoring(toy: Toy) -> Iterator[dg.JobDefinition]:
    marts = dg.AssetSpec(
        ["marts", "fct_flights"],
        partitions_def=dg.DailyPartitionsDefinition("2013-01-01", timezone="America/New_York"),
    )
    definitions = dg.Definitions.merge(
        problem_definitions(monitors=MONITORS),
        dg.Definitions(
            assets=[marts],
            resources={"lake": toy.lake, "tracking": None},
            executor=dg.in_process_executor,
        ),
    )
    yield definitions.get_repository_def().get_implicit_global_asset_job_def()


def monitor(
    toy: Toy, first: date, last: date | None = None, *, names: tuple[str, ...] = NAMES, **run: Any
) -> dg.ExecuteInProcessResult:
    """Run monitors for a day, or for the days from the first to the last in one run."""
    span = {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }
    with monitoring(toy) as job:
        return job.execute_in_process(
            instance=toy.instance,
            partition_key=None if last else str(first),
            tags=span if last else {},
            asset_selection=[dg.AssetKey(["toy", f"monitor_{name}"]) for name in names],
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            **run,
        )


def published(toy: Toy, name: str, day: date) -> dict[str, str]:
    """The digests of a monitor's files of one day."""
    partition = Partition.of({"day": str(day)})
    stored = toy.lake.snapshot().require(f"toy/monitor_{name}", [partition])[partition]
    return {file.name: file.sha256 for file in stored.manifest.files}


def read(toy: Toy, name: str, day: date, file: str) -> bytes:
    key = TablePartition(f"toy/monitor_{name}", Partition.of({"day": str(day)}))
    return toy.lake.snapshot().read(key, file)


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    return {(check.asset_key.path[-1], str(check.partition)): check for check in found}


@pytest.fixture
def with_days(toy: Toy) -> Toy:
    publish(toy, [FIRST + timedelta(days=place) for place in range(DAYS)])
    return toy


def test_every_monitor_publishes_a_report_its_findings_and_its_samples(with_days: Toy) -> None:
    result = monitor(with_days, LAST)

    assert result.success
    for name in NAMES:
        assert set(published(with_days, name, LAST)) == {
            "report.html",
            FINDINGS_FILE,
            SAMPLES_FILE,
        }
        [event] = result.asset_materializations_for_node(f"toy__monitor_{name}")
        # The toy has no feature views, and so no ages to draw.
        drawn = "data:image/png" in str(event.metadata["report"].value)
        assert drawn == (name != "freshness")
        assert any(isinstance(entry, dg.FloatMetadataValue) for entry in event.metadata.values())
        samples = Samples.from_json(read(with_days, name, LAST, SAMPLES_FILE))
        assert samples.by_name("alarms") == {(): 0.0}
    assert all(check.passed for check in checks(result).values())


def test_a_day_is_the_same_in_a_range_as_alone(with_days: Toy) -> None:
    assert monitor(with_days, FIRST, LAST, names=("concept", "quality")).success
    in_range = {name: published(with_days, name, LAST) for name in ("concept", "quality")}
    assert monitor(with_days, LAST, names=("concept", "quality")).success
    assert in_range == {name: published(with_days, name, LAST) for name in ("concept", "quality")}


def test_an_alarm_is_a_failed_check_of_a_run_that_succeeds(with_days: Toy) -> None:
    publish(with_days, [LAST], doubled=True)

    result = monitor(with_days, LAST, names=("concept",))

    assert result.success
    check = checks(result)["monitor_concept", str(LAST)]
    assert not check.passed
    assert not check.blocking
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert (check.description or "").startswith("carrier UA")
    assert str(LAST) in (check.description or "")
    findings = Findings.from_json(read(with_days, "concept", LAST, FINDINGS_FILE))
    assert findings.subjects == ["carrier UA"]


def test_what_comes_after_a_day_changes_nothing_of_its_report(with_days: Toy) -> None:
    day = LAST - timedelta(days=2)
    assert monitor(with_days, day, names=("concept", "drift")).success
    before = {name: published(with_days, name, day) for name in ("concept", "drift")}
    publish(with_days, [LAST - timedelta(days=1), LAST], doubled=True)

    assert monitor(with_days, day, names=("concept", "drift")).success

    assert before == {name: published(with_days, name, day) for name in ("concept", "drift")}


def test_the_first_day_has_a_report_that_judges_nothing(toy: Toy) -> None:
    publish(toy, [FIRST])

    result = monitor(toy, FIRST)

    assert result.success
    check = checks(result)["monitor_drift", str(FIRST)]
    assert check.passed
    assert "too few days before it" in (check.description or "")


def test_a_day_that_was_not_predicted_has_no_report(toy: Toy) -> None:
    publish(toy, [FIRST])

    result = monitor(toy, FIRST + timedelta(days=1), names=("drift",), raise_on_error=False)

    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "toy/predictions day=2013-04-02 does not exist" in str(event.step_failure_data.error)


def test_raw_rows_that_are_counted_are_inputs_and_no_others(with_days: Toy) -> None:
    before, later = LAST - timedelta(days=1), LAST + timedelta(days=1)
    few, none = pa.table({"row": [1, 2]}), pa.table({"row": []})
    publish_tables(
        with_days,
        {
            "raw/flights": {before: few, LAST: few, later: few},
            "raw/flights_quarantine": {LAST: few, later: none},
        },
    )

    assert monitor(with_days, LAST, names=("quality",)).success

    state, place = with_days.lake.snapshot(), Partition.of({"day": str(LAST)})
    [(commit, _)] = makers(
        with_days.lake, state.commit, [TablePartition("toy/monitor_quality", place)]
    ).values()
    recorded = Provenance.of(with_days.lake.commit_info(commit)["metadata"]).inputs_of(place)
    read = {one.table: (one.first, one.last) for one in recorded}
    assert read["raw/flights"] == (f"day={before}", f"day={LAST}")
    assert read["raw/flights_quarantine"] == (f"day={LAST}", f"day={LAST}")
