"""Training sets: a spine of events, each with what was known of it at its prediction time.

No row sees the future: features by as-of join at the prediction time, training labels only if
they were known before the first prediction of the evaluated month.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.components import younger
from mlops_assets.components.partition_files import FILE
from mlops_assets.components.sql_lineage import Columns, trace
from mlops_assets.engines import duckdb as engine
from mlops_assets.engines.as_of import KNOWN_AT, FeatureView, as_of_join, feature_column
from mlops_assets.engines.duckdb import literal, quote
from mlops_assets.engines.schemas import Since
from mlops_assets.lake import Manifest, Partition, Snapshot, TablePartition
from mlops_assets.ml.labels import UnusableRowsError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

PREDICTED_AT = "predicted_at"
SPLIT = "split"


class Spine(BaseModel):
    """The events whose label is predicted."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    table: str
    """Their table in the lake."""
    keys: Annotated[Sequence[str], Field(min_length=1)]
    """The columns that name an event."""
    day: str
    """Its column of the local day, by which the table is partitioned."""
    event_time: str
    """Its column of the moment that is predicted for (UTC)."""
    lead_minutes: Annotated[int, Field(gt=0)]
    """How long before that moment the prediction is made."""
    label: str
    """The column to predict; null where the event has no label."""
    label_known_at: str
    """The column of the moment from which the label is known (UTC)."""
    features: Sequence[str]
    """The columns that are known at the prediction time."""


@dataclass(frozen=True)
class TrainingSet:
    """How a month's training set is made and read.

    Attributes:
        spine: The events.
        views: The feature views that are joined to them.
        months: How many months before the evaluated one are trained on.
        segment: The column by which the rows are read.
        time_zone: The time zone whose months they are.
        optional: The tables of those views whose days may be missing: what they would have said
            is null.
        since: By table the first days of the columns that are younger than some partitions.
    """

    spine: Spine
    views: Sequence[FeatureView]
    months: int
    segment: str
    time_zone: str
    optional: tuple[str, ...] = ()
    # No part of its code version: a declared day refuses or admits, and changes no row.
    since: Mapping[str, Since] = field(default_factory=dict, repr=False)

    @property
    def own_since(self) -> Since:
        """The first days of its own columns that are younger than some partitions."""
        spine = self.since.get(self.spine.table, {})
        found = {name: spine[name] for name in self._own if name in spine}
        for view in self.views:
            declared = self.since.get(view.table, {})
            columns = {name: name for name in view.features} | {KNOWN_AT: view.timestamp}
            found |= {
                feature_column(view, name): declared[source]
                for name, source in columns.items()
                if source in declared
            }
        return found

    @property
    def tables(self) -> list[str]:
        """The tables that it reads."""
        return [self.spine.table, *(view.table for view in self.views)]

    def column_lineage(self, month: str) -> dict[str, Columns]:
        """The upstream columns that its columns depend on, the same in every month."""
        window = Window.of(month, self.months, self.time_zone)
        return trace(self._query(window), self._read, key=self.spine.keys)

    def day_lineage(self, day: date) -> dict[str, Columns]:
        """The upstream columns that the columns of a day's events depend on, on any day."""
        return trace(self._day_query(day), self._read, key=self.spine.keys)

    @property
    def _read(self) -> dict[str, list[str]]:
        """The columns that it reads of each table."""
        spine = self.spine
        read = {spine.table: [*self._own, spine.event_time, spine.label_known_at]}
        for view in self.views:
            read[view.table] = [*view.entities, view.timestamp, *view.features]
        return read

    @property
    def look_back_days(self) -> int:
        """How many days before an event's own the features of its prediction can be from."""
        # A day has 25 hours when clocks go back.
        hours = [
            self.months * 31 * 24 if view.ttl_hours is None else view.ttl_hours + 1
            for view in self.views
        ]
        return ceil((max(hours, default=0) * 60 + self.spine.lead_minutes) / (24 * 60))

    @property
    def features(self) -> list[str]:
        """The columns that a model is trained on."""
        return [*self.spine.features, *self._joined]

    @property
    def columns(self) -> list[str]:
        """The columns that it holds, but for the time of the prediction and the split."""
        return [*self._own, *self._joined]

    @property
    def _own(self) -> list[str]:
        """The columns that it takes from the spine."""
        spine = self.spine
        entities = [entity for view in self.views for entity in view.entities]
        named = [*spine.keys, *spine.features, *entities, self.segment, spine.day, spine.label]
        return list(dict.fromkeys(named))

    @property
    def _joined(self) -> list[str]:
        return [feature_column(view, name) for view in self.views for name in view.features]

    def declared(self) -> Mapping[str, object]:
        """What decides its rows, as a commit records it."""
        return {
            "spine": self.spine.model_dump(mode="json"),
            "views": {view.table: view.model_dump(mode="json") for view in self.views},
            "months": self.months,
            "segment": self.segment,
            "time_zone": self.time_zone,
            "optional": sorted(self.optional),
            **younger.metadata(
                {table: days for table, days in self.since.items() if table in self.tables}
            ),
        }

    def build(self, snapshot: Snapshot, month: Partition, folder: Path) -> Manifest:
        """Make one month's training set from pinned tables.

        Args:
            snapshot: The pin to read from.
            month: The partition to make, its one dimension the month.
            folder: Where its file is written.

        Raises:
            MissingPartitionError: A day of its window does not exist at the pin.
            SchemaError: Days of a table have different schemas, or lack a column that is read.
            UnusableRowsError: A label was known before its event.
        """
        window = Window.of(dict(month.values)["month"], self.months, self.time_zone)
        days = [Partition.of({"day": day}) for day in window.days]
        with engine.connect() as connection:
            for table in self.tables:
                self._show(connection, snapshot, table, days, days)
            self._require_labels_after_events(connection)
            connection.execute(
                f"copy ({self._query(window)} order by {quote(self.segment)}, {SPLIT}, "
                f"{', '.join(map(quote, self.spine.keys))}) to {literal(folder / FILE)} "
                "(format parquet, compression zstd)"
            )
        return engine.describe_tables([folder])[folder]

    def day(self, snapshot: Snapshot, day: date, scratch: Path) -> "pa.Table":
        """Every event of a local day with what was known of it at its prediction time.

        Args:
            snapshot: The pin to read from.
            day: The day.
            scratch: A folder that a file may be written to.

        Returns:
            A row an event, in the order of the spine's keys: the columns of the training set but
            for the label and the split, and `<view>__known_at`.

        Raises:
            MissingPartitionError: The day's events, or a view that is not optional, do not exist
                at the pin. Of the days before, what is there is used.
        """
        import pyarrow.parquet as pq

        own = Partition.of({"day": day.isoformat()})
        path = scratch / "features.parquet"
        with engine.connect() as connection:
            self._show(connection, snapshot, self.spine.table, [own], [own])
            for view in self.views:
                days = [
                    Partition.of({"day": (day - timedelta(days=back)).isoformat()})
                    for back in range(self.look_back_days + 1)
                ]
                self._show(connection, snapshot, view.table, days, [own])
            # Through a file, as a training set is read: the same values have the same types.
            connection.execute(
                f"copy ({self._day_query(day)} order by {', '.join(map(quote, self.spine.keys))}) "
                f"to {literal(path)} (format parquet)"
            )
        rows = pq.read_table(path)
        path.unlink()
        return rows

    def _show(
        self,
        connection: "duckdb.DuckDBPyConnection",
        snapshot: Snapshot,
        table: str,
        days: Iterable[Partition],
        required: Iterable[Partition],
    ) -> None:
        schema, name = table.split("/")
        needed = () if table in self.optional else required
        engine.create_view(
            connection,
            snapshot,
            table,
            days,
            schema=schema,
            name=name,
            required=needed,
            since=self.since.get(table),
            needed=self._read[table],
        )

    @property
    def _events(self) -> str:
        """The spine's table as a quoted relation."""
        return ".".join(map(quote, self.spine.table.split("/")))

    def _require_labels_after_events(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """A label known before its event is another event's, or a clock that is wrong: a leak."""
        spine = self.spine
        rows, first = connection.execute(
            f"select count(*), min({quote(spine.event_time)}) from {self._events} "  # noqa: S608
            f"where {quote(spine.label)} is not null "
            f"and {quote(spine.label_known_at)} < {quote(spine.event_time)}"
        ).fetchall()[0]
        if rows:
            raise UnusableRowsError(
                f"{rows} rows of {spine.table} have a label that was known "
                f"({spine.label_known_at}) before its event ({spine.event_time}), the first at "
                f"{first} UTC: correct {spine.label_known_at}, or name another column in "
                "label_known_at."
            )

    def _query(self, window: "Window") -> str:
        spine = self.spine
        evaluated = f"{quote(spine.day)} >= date {literal(window.month)}"
        # The longest-lived feature of the window's first rows could lie before the window.
        settled = window.start + timedelta(
            hours=max([v.ttl_hours or 0 for v in self.views], default=0)
        )
        # A label that became known after the month's first prediction is not there to train on.
        cutoff = window.evaluated_from - timedelta(minutes=spine.lead_minutes)
        shown = ", ".join(map(quote, self._own))
        split = f"case when {evaluated} then 'evaluate' else 'train' end"
        trainable = (
            f"{quote(spine.label_known_at)} <= timestamp {literal(str(cutoff))} "
            f"and {self._prediction_time} >= timestamp {literal(str(settled))}"
        )
        wanted = f"{quote(spine.label)} is not null and ({evaluated} or ({trainable}))"
        outputs = f"{shown}, {self._prediction_time} as {PREDICTED_AT}, {split} as {SPLIT}"
        rows = f"select {outputs} from {self._events} where {wanted}"  # noqa: S608  # all quoted
        return as_of_join(f"({rows})", PREDICTED_AT, self.views)

    @property
    def _prediction_time(self) -> str:
        return f"{quote(self.spine.event_time)} - interval {self.spine.lead_minutes} minute"

    def _day_query(self, day: date) -> str:
        spine = self.spine
        shown = ", ".join(quote(name) for name in self._own if name != spine.label)
        rows = (
            f"select {shown}, {self._prediction_time} as {PREDICTED_AT} from {self._events} "  # noqa: S608  # all quoted
            f"where {quote(spine.day)} = date {literal(day.isoformat())}"
        )
        return as_of_join(f"({rows})", PREDICTED_AT, self.views, stamped=True)

    def rows(
        self,
        snapshot: Snapshot,
        source: TablePartition,
        segment: str,
        split: str,
        columns: Sequence[str] | None = None,
    ) -> "pa.Table":
        """Read the rows of one segment and split, `train` or `evaluate`.

        Args:
            snapshot: The pin to read from.
            source: A month's training set.
            segment: The value of the segment's column.
            split: Which of the two.
            columns: The columns that are wanted; all if None.

        Raises:
            MissingPartitionError: The training set does not exist at the pin.
        """
        import pyarrow.parquet as pq

        stored = snapshot.require(source.table, [source.partition])
        [path] = snapshot.files(list(stored.values()))
        return pq.read_table(
            path,
            columns=None if columns is None else list(columns),
            filters=[(self.segment, "=", segment), (SPLIT, "=", split)],
            partitioning=None,
        )


@dataclass(frozen=True)
class Window:
    """The days that a training set is made of.

    Attributes:
        month: The first day of the evaluated month.
        start: The moment at which the first training day begins (UTC, without time zone).
        evaluated_from: The moment at which the evaluated month begins (UTC, without time zone).
        days: Every local day, from the first of training to the last of the month.
    """

    month: str
    start: datetime
    evaluated_from: datetime
    days: Sequence[str]

    @classmethod
    def of(cls, month: str, months_before: int, time_zone: str) -> "Window":
        """The window of `month` (as `2013-12`) and of so many months before it."""
        year, number = map(int, month.split("-"))
        first, evaluated, end = (
            datetime((year * 12 + number - 1 + shift) // 12, (number - 1 + shift) % 12 + 1, 1)
            for shift in (-months_before, 0, 1)
        )
        zone = ZoneInfo(time_zone)
        start, evaluated_from = (
            moment.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
            for moment in (first, evaluated)
        )
        return cls(
            month=evaluated.date().isoformat(),
            start=start,
            evaluated_from=evaluated_from,
            days=[
                (first + timedelta(days=day)).date().isoformat()
                for day in range((end - first).days)
            ],
        )
