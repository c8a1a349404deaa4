"""Days as monitors see them: predictions, joined with what became of their events.

Reads pinned partitions and nothing later than the day. A day is read once in a step and kept while
it is in the windows of later days: a backfill of a year reads each day once for each monitor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.components.training_set import PREDICTED_AT
from mlops_assets.engines.as_of import KNOWN_AT
from mlops_assets.engines.duckdb import connect, file_of, quote
from mlops_assets.engines.schemas import QUARANTINE, Since, require_one_schema
from mlops_assets.lake import Partition, Snapshot, StoredPartition, Version
from mlops_assets.ml.encoding import is_number
from mlops_assets.monitors.concept import LABEL
from mlops_assets.monitors.freshness import AGE
from mlops_assets.monitors.history import LONGEST_WINDOW, DayRows, History, Inputs, RawCount

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

DAY = "day"


def look_back_days(reference_days: int) -> int:
    """How many days before its own a monitor reads."""
    return reference_days + LONGEST_WINDOW - 1


@dataclass
class MonitoredDays:
    """Where a problem's days are read from.

    Attributes:
        predictions: The table of predictions.
        outcomes: The table of the events, which holds their labels; None if no outcome is wanted.
        keys: The columns that name an event, in both.
        label: The events' column of the label.
        columns: What the monitor reads, as the monitor names it.
        outcome_columns: Those of them that the events' table holds.
        reference_days: How many days a window is compared with.
        fewest_days: With fewer of them that have a figure, the figure is no alarm.
        raw_tables: Raw tables whose rows are counted.
        inputs: Tables whose newest day is looked up.
        since: By table the first days of the columns that are younger than some partitions.
    """

    predictions: str
    outcomes: str | None
    keys: Sequence[str]
    label: str
    columns: Sequence[str]
    outcome_columns: Sequence[str]
    reference_days: int
    fewest_days: int
    raw_tables: Sequence[str] = ()
    inputs: Sequence[str] = ()
    since: Mapping[str, Since] = field(default_factory=dict)
    _kept: OrderedDict[tuple[Version, ...], DayRows] = field(default_factory=OrderedDict)
    _tables: dict[tuple[str, str], Mapping[Partition, StoredPartition]] = field(
        default_factory=dict
    )

    def history(self, snapshot: Snapshot, day: date) -> History:
        """A day and those before it, as far as they exist at the pin.

        Args:
            snapshot: The pin to read from.
            day: The day.

        Raises:
            MissingPartitionError: The day has no predictions.
            SchemaError: A column that is read is not the same on all days of a table, otherwise
                than declared.
        """
        partition = _partition(day)
        snapshot.require(self.predictions, [partition])
        span = look_back_days(self.reference_days)
        days = [day - timedelta(days=back) for back in range(span, -1, -1)]
        *before, today = [found for found in self._days(snapshot, days) if found is not None]
        return History(
            today,
            before,
            self.reference_days,
            self.fewest_days,
            Inputs(self._raw(snapshot, days), self._days_behind(snapshot, day)),
        )

    def _days(self, snapshot: Snapshot, days: Sequence[date]) -> list[DayRows | None]:
        tables = [self.predictions, *([self.outcomes] if self.outcomes else [])]
        stored = [self._stored(snapshot, table) for table in tables]
        for table, held in zip(tables, stored, strict=True):
            together = [held[_partition(day)] for day in days if _partition(day) in held]
            require_one_schema(together, self.since.get(table, {}), columns=self._read_of(table))
        found: list[DayRows | None] = []
        for day in days:
            parts = [held[_partition(day)] for held in stored if _partition(day) in held]
            predicted = bool(parts) and parts[0].key.table == self.predictions
            found.append(self._day(snapshot, day, parts) if predicted else None)
        return found

    def _read_of(self, table: str) -> list[str]:
        """The columns that are read of predictions, or of outcomes."""
        if table != self.predictions:
            return [*self.keys, self.label, *self.outcome_columns]
        ages = [f"{name.removesuffix(AGE)}__{KNOWN_AT}" for name in self.columns]
        return [*self.keys, PREDICTED_AT, *self.columns, *ages]

    def _day(self, snapshot: Snapshot, day: date, parts: Sequence[StoredPartition]) -> DayRows:
        # Asked for whether or not the day is kept: the commit records what each partition read.
        paths = snapshot.files(parts)
        # Two days without rows have one data version: content knows neither its day nor its table.
        version = tuple(Version(part.key, part.manifest.data_version) for part in parts)
        if version not in self._kept:
            self._kept[version] = self._read(day, parts, paths)
            while len(self._kept) > 2 * look_back_days(self.reference_days):
                self._kept.popitem(last=False)
        self._kept.move_to_end(version)
        return self._kept[version]

    def _read(self, day: date, parts: Sequence[StoredPartition], paths: Sequence[Path]) -> DayRows:
        with connect() as connection:
            rows = connection.sql(self._query(parts, paths)).to_arrow_table()
        columns = {name: _array(rows, name) for name in self.columns}
        return DayRows(day, rows.num_rows, columns)

    def _query(self, parts: Sequence[StoredPartition], paths: Sequence[Path]) -> str:
        predictions, *outcomes = [f"read_parquet({file_of(path)})" for path in paths]
        # A problem without feature views has no ages to read; its rows are counted all the same.
        selected = ", ".join(self._expression(name, *parts) for name in self.columns) or "1"
        joined = ""
        if outcomes:
            using = ", ".join(map(quote, self.keys))
            joined = f"left join {outcomes[0]} as events using ({using})"
        order = ", ".join(f"rows.{quote(key)}" for key in self.keys)
        return f"select {selected} from {predictions} as rows {joined} order by {order}"  # noqa: S608  # all quoted

    def _expression(
        self, name: str, predictions: StoredPartition, outcomes: StoredPartition | None = None
    ) -> str:
        """How a column that a monitor reads comes from the two tables."""
        as_name = f"as {quote(name)}"
        if name.endswith(AGE):
            column = f"{name.removesuffix(AGE)}__{KNOWN_AT}"
            known = _column("rows", predictions, column, "null::timestamp")
            return f"(epoch(rows.{quote(PREDICTED_AT)}) - epoch({known})) / 3600 {as_name}"
        if name == LABEL or name in self.outcome_columns:
            found = _column("events", outcomes, self.label if name == LABEL else name)
            return f"{found}::double {as_name}"
        return f"{_column('rows', predictions, name)} {as_name}"

    def _raw(
        self, snapshot: Snapshot, days: Sequence[date]
    ) -> Mapping[str, Mapping[date, RawCount]]:
        counts: dict[str, dict[date, RawCount]] = {}
        for table in self.raw_tables:
            accepted, bad = (
                self._used(snapshot, name, days) for name in (table, f"{table}{QUARANTINE}")
            )
            counts[table] = {
                day: RawCount(_rows(part), _rows(bad.get(day))) for day, part in accepted.items()
            }
        return counts

    def _used(
        self, snapshot: Snapshot, table: str, days: Sequence[date]
    ) -> Mapping[date, StoredPartition]:
        """Those of a table's days that are there, which the commit records as read."""
        held = self._stored(snapshot, table)
        found = {day: held[_partition(day)] for day in days if _partition(day) in held}
        snapshot.note(found.values())
        return found

    def _days_behind(self, snapshot: Snapshot, day: date) -> Mapping[str, int]:
        days = [day - timedelta(days=back) for back in range(self.reference_days + 1)]
        behind = {}
        for table in self.inputs:
            held = self._stored(snapshot, table)
            newest = next((found for found in days if _partition(found) in held), None)
            self._used(snapshot, table, [newest] if newest else [])
            behind[table] = (day - newest).days if newest else self.reference_days + 1
        return behind

    def _stored(self, snapshot: Snapshot, table: str) -> Mapping[Partition, StoredPartition]:
        """A table's partitions at the pin: listing a year of them for each day took minutes."""
        key = (snapshot.commit, table)
        if key not in self._tables:
            self._tables[key] = snapshot.stored(table)
        return self._tables[key]


def _partition(day: date) -> Partition:
    return Partition.of({DAY: day.isoformat()})


def _rows(part: StoredPartition | None) -> int:
    return 0 if part is None else part.manifest.rows or 0


def _column(alias: str, part: StoredPartition | None, name: str, null: str = "null") -> str:
    """A column of a day's file; null where the file is older than the column, or not there."""
    # As SQL reads names, in any case: a label is one in the training set however it is written.
    held = part is not None and name.lower() in map(str.lower, part.manifest.schema)
    return f"{alias}.{quote(name)}" if held else null


def _array(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column as `DayRows` holds it: what a model is given as a number is one here."""
    import numpy as np
    import pyarrow as pa

    column = rows.column(name)
    if is_number(column.type):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        # No model is given a greater one, and no sum, nor a square, of the others is infinite.
        return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)
    return np.array([None if v is None else str(v) for v in column.to_pylist()], dtype=object)
