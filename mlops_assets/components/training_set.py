"""Training sets: a spine of events, each with what was known of it at its prediction time.

No row sees the future: features by as-of join at the prediction time, training labels only if
they were known before the first prediction of the evaluated month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.components.partition_files import FILE
from mlops_assets.components.sql_lineage import Columns, trace
from mlops_assets.engines import duckdb as engine
from mlops_assets.engines.as_of import FeatureView, as_of_join, feature_column
from mlops_assets.engines.duckdb import literal, quote
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
    """

    spine: Spine
    views: Sequence[FeatureView]
    months: int
    segment: str
    time_zone: str

    @property
    def tables(self) -> list[str]:
        """The tables that it reads."""
        return [self.spine.table, *(view.table for view in self.views)]

    def column_lineage(self, month: str) -> dict[str, Columns]:
        """The upstream columns that its columns depend on, the same in every month."""
        spine = self.spine
        read = {spine.table: [*self._own, spine.event_time, spine.label_known_at]}
        for view in self.views:
            read[view.table] = [*view.entities, view.timestamp, *view.features]
        window = Window.of(month, self.months, self.time_zone)
        return trace(self._query(window), read, key=spine.keys)

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
        }

    def build(self, snapshot: Snapshot, month: Partition, folder: Path) -> Manifest:
        """Make one month's training set from pinned tables.

        Args:
            snapshot: The pin to read from.
            month: The partition to make, its one dimension the month.
            folder: Where its file is written.

        Raises:
            MissingPartitionError: A day of its window does not exist at the pin.
            UnusableRowsError: A label was known before its event.
        """
        import duckdb

        window = Window.of(dict(month.values)["month"], self.months, self.time_zone)
        days = [Partition.of({"day": day}) for day in window.days]
        with duckdb.connect() as connection:
            for table in self.tables:
                schema, name = table.split("/")
                engine.create_view(connection, snapshot, table, days, schema=schema, name=name)
            self._require_labels_after_events(connection)
            connection.execute(
                f"copy ({self._query(window)} order by {quote(self.segment)}, {SPLIT}, "
                f"{', '.join(map(quote, self.spine.keys))}) to {literal(folder / FILE)} "
                "(format parquet, compression zstd)"
            )
        return engine.describe_tables([folder])[folder]

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
        predicted = f"{quote(spine.event_time)} - interval {spine.lead_minutes} minute"
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
            f"and {predicted} >= timestamp {literal(str(settled))}"
        )
        wanted = f"{quote(spine.label)} is not null and ({evaluated} or ({trainable}))"
        outputs = f"{shown}, {predicted} as {PREDICTED_AT}, {split} as {SPLIT}"
        rows = f"select {outputs} from {self._events} where {wanted}"  # noqa: S608  # all quoted
        return as_of_join(f"({rows})", PREDICTED_AT, self.views)

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
