"""What monitors read of a day: its own rows, and null for what its files do not have yet."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.components.monitored_days import MonitoredDays
from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.engines.schemas import SchemaError
from mlops_assets.lake import Partition, Snapshot, StoredPartition, TablePartition

PREDICTIONS, EVENTS = "toy/predictions", "marts/events"
FIRST = date(2013, 4, 1)
NOW = FIRST + timedelta(days=39)


class Tables:
    """Tables of files, read as a pin's are."""

    commit = "0"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stored: dict[str, dict[Partition, StoredPartition]] = {}

    def write(self, table: str, day: date, rows: pa.Table) -> None:
        folder = self._folder / table / str(day)
        folder.mkdir(parents=True)
        write_table(rows, folder / FILE)
        partition = Partition.of({"day": str(day)})
        self._stored.setdefault(table, {})[partition] = StoredPartition(
            TablePartition(table, partition),
            describe_tables([folder])[folder],
            {FILE: str(folder / FILE)},
        )

    def stored(self, table: str) -> Mapping[Partition, StoredPartition]:
        return self._stored.get(table, {})

    def require(self, table: str, partitions: Sequence[Partition]) -> None:
        assert set(partitions) <= self.stored(table).keys()

    def files(self, parts: Sequence[StoredPartition]) -> list[Path]:
        return [Path(part.addresses[FILE]) for part in parts]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


def predicted(rows: int, **columns: Sequence[Any]) -> pa.Table:
    keys = pa.array(range(rows), pa.int64())
    given = {name: pa.array(values) for name, values in columns.items()}
    return pa.table({"key": keys, "score": pa.array([0.5] * rows, pa.float64()), **given})


def events(rows: int, **columns: Sequence[Any]) -> pa.Table:
    keys = pa.array(range(rows), pa.int64())
    given = {name: pa.array(values) for name, values in columns.items()}
    return pa.table({"key": keys, "is_late": pa.array([True] * rows, pa.bool_()), **given})


def reader(*columns: str, outcomes: Sequence[str] = (), label: str = "is_late") -> MonitoredDays:
    return MonitoredDays(
        predictions=PREDICTIONS,
        outcomes=EVENTS,
        keys=["key"],
        label=label,
        columns=columns,
        outcome_columns=outcomes,
        reference_days=28,
        fewest_days=14,
    )


def pin(tables: Tables) -> Snapshot:
    return cast("Snapshot", tables)


def test_days_of_the_same_content_are_not_taken_for_each_other(tables: Tables) -> None:
    span = [NOW - timedelta(days=back) for back in range(8, -1, -1)]
    for place, day in enumerate(span):
        rows = 0 if place in (2, 5, 8) else 10 + place
        tables.write(PREDICTIONS, day, predicted(rows))
        tables.write(EVENTS, day, events(rows))
    days = reader("score", "label")
    for last in (span[5], NOW):
        history = days.history(pin(tables), last)
        assert history.today.day == last
        assert [found.day for found in history.window(9)] == [d for d in span if d <= last]


def test_a_column_is_null_on_days_that_are_declared_as_older(tables: Tables) -> None:
    before = NOW - timedelta(days=1)
    moments = [datetime(2013, 5, 10, 8), datetime(2013, 5, 10, 9)]
    tables.write(PREDICTIONS, before, predicted(2, predicted_at=moments))
    tables.write(EVENTS, before, events(2))
    tables.write(
        PREDICTIONS,
        NOW,
        predicted(
            2,
            predicted_at=moments,
            place=["a", "b"],
            wind=[1.0, 2.0],
            view__known_at=[datetime(2013, 5, 10, 7), None],
        ),
    )
    tables.write(EVENTS, NOW, events(2, minutes=[3, None]))

    columns = ("place", "wind", "view__age_hours", "minutes", "label")
    reads = reader(*columns, outcomes=["minutes"])
    with pytest.raises(SchemaError, match=r"toy/predictions lacks the column .* in 2013-05-09"):
        reads.history(pin(tables), NOW)
    first = dict.fromkeys(["place", "wind", "view__known_at", "minutes"], str(NOW))
    reads.since = {PREDICTIONS: first, EVENTS: first}
    history = reads.history(pin(tables), NOW)

    today, [old] = history.today, history.before
    assert old.rows == 2
    for name in ("place", "wind", "view__age_hours", "minutes"):
        assert old.values(name).missing == 2
    assert today.columns["place"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(today.columns["wind"], [1, 2])
    np.testing.assert_array_equal(today.columns["view__age_hours"], [1, np.nan])
    np.testing.assert_array_equal(today.columns["minutes"], [3, np.nan])


def test_a_name_is_found_however_it_is_written(tables: Tables) -> None:
    tables.write(PREDICTIONS, NOW, predicted(2, wind=[1.0, 2.0]))
    tables.write(EVENTS, NOW, events(2))
    today = reader("label", "Wind", label="Is_Late").history(pin(tables), NOW).today
    np.testing.assert_array_equal(today.columns["label"], [1, 1])
    np.testing.assert_array_equal(today.columns["Wind"], [1, 2])


def test_whatever_a_model_reads_as_a_number_is_one(tables: Tables) -> None:
    big = 2**53 + 1
    tables.write(
        PREDICTIONS,
        NOW,
        predicted(2, price=[Decimal("1.50"), None], number=[big, 1], sure=[True, None]),
    )
    tables.write(EVENTS, NOW, events(2, minutes=[Decimal("-2.5"), None]))
    columns = ("price", "number", "sure", "minutes")
    today = reader(*columns, outcomes=["minutes"]).history(pin(tables), NOW).today
    np.testing.assert_array_equal(today.columns["price"], [1.5, np.nan])
    np.testing.assert_array_equal(today.columns["number"], [float(big), 1])
    np.testing.assert_array_equal(today.columns["sure"], [1, np.nan])
    np.testing.assert_array_equal(today.columns["minutes"], [-2.5, np.nan])


def test_what_no_model_is_given_as_a_number_is_missing(tables: Tables) -> None:
    far = [float("inf"), float("-inf"), 1e300, -2.0]
    tables.write(PREDICTIONS, NOW, predicted(4, wind=far))
    tables.write(EVENTS, NOW, events(4, minutes=far))
    today = reader("wind", "minutes", outcomes=["minutes"]).history(pin(tables), NOW).today
    for name in ("wind", "minutes"):
        np.testing.assert_array_equal(today.columns[name], [np.nan, np.nan, np.nan, -2])
