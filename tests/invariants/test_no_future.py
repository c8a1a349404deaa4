"""No training row sees anything that was not known at its prediction time."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.components.training_set import Spine, TrainingSet
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.ml.labels import UnusableRowsError

MONTH = Partition.of({"month": "2013-02"})
FIRST, LAST = date(2013, 1, 1), date(2013, 2, 28)
START = datetime(2013, 1, 1, 5)  # midnight in New York, in UTC
EVALUATED_FROM = datetime(2013, 2, 1, 5)
LEAD = timedelta(hours=2)
CUTOFF = EVALUATED_FROM - LEAD
TTL = timedelta(hours=30)

VIEWS = {"aging": TTL, "lasting": None}

Rows = dict[int, dict[str, Any]]

TRAINING_SET = TrainingSet(
    spine=Spine(
        table="marts/events",
        keys=["event"],
        day="day",
        event_time="event_at",
        lead_minutes=120,
        label="is_late",
        label_known_at="known_at",
        features=["x"],
    ),
    views=[
        FeatureView(
            table=f"features/{name}",
            entities=["origin"],
            timestamp="feature_at",
            features=["value"],
            ttl_hours=hours,
            owner="team:tests",
        )
        for name, hours in (("aging", 30), ("lasting", None))
    ],
    months=1,
    segment="origin",
    time_zone="America/New_York",
)


@dataclass(frozen=True)
class Event:
    event: int
    origin: str
    event_at: datetime
    known_at: datetime | None
    is_late: bool | None
    x: int

    @property
    def day(self) -> date:
        return (self.event_at - timedelta(hours=5)).date()

    @property
    def predicted_at(self) -> datetime:
        return self.event_at - LEAD


@dataclass(frozen=True)
class Feature:
    origin: str
    feature_at: datetime
    value: int

    @property
    def day(self) -> date:
        return (self.feature_at - timedelta(hours=5)).date()


@dataclass(frozen=True)
class World:
    events: list[Event]
    views: Mapping[str, list[Feature]]

    def with_another_future(self, after: datetime) -> "World":
        """The same until `after`; what becomes known later is otherwise."""
        return World(
            [
                replace(event, is_late=not event.is_late)
                if event.is_late is not None and event.known_at and event.known_at > after
                else event
                for event in self.events
            ],
            {
                name: [
                    replace(row, value=-row.value - 1) if row.feature_at > after else row
                    for row in rows
                ]
                for name, rows in self.views.items()
            },
        )


@pytest.fixture
def world() -> World:
    draw = random.Random(2013)
    hours = (LAST - FIRST).days * 24 + 23

    def moment() -> datetime:
        return START + timedelta(minutes=draw.randrange(hours * 60))

    events = []
    for number in range(600):
        at = moment()
        outcome = draw.random()
        late = None if outcome < 0.1 else outcome < 0.4
        known = None if late is None else at + timedelta(minutes=draw.randrange(30, 3000))
        events.append(Event(number, draw.choice("AB"), at, known, late, draw.randrange(9)))
    # On the edges: predicted with a feature's very minute, known at the cutoff and just after it.
    edge = datetime(2013, 1, 20, 12)
    events += [
        Event(900, "A", edge + LEAD, CUTOFF, True, 1),
        Event(901, "A", edge + LEAD, CUTOFF + timedelta(microseconds=1), True, 1),
        Event(902, "A", START + TTL + LEAD, CUTOFF, False, 1),
        Event(903, "A", START + TTL + LEAD - timedelta(microseconds=1), CUTOFF, False, 1),
    ]
    stamps = {name: {(draw.choice("AB"), moment()) for _ in range(80)} for name in VIEWS}
    for rows in stamps.values():
        rows |= {("A", edge), ("A", edge + timedelta(microseconds=1))}
        rows |= {("A", START)}
    return World(
        events,
        {
            name: [Feature(origin, at, draw.randrange(1000)) for origin, at in sorted(rows)]
            for name, rows in stamps.items()
        },
    )


def test_a_training_set_is_what_a_reference_finds_row_by_row(
    lake: Lake, world: World, tmp_path: Path
) -> None:
    rows = built(lake, world, tmp_path)
    assert rows == reference(world)
    assert {row["split"] for row in rows.values()} == {"train", "evaluate"}
    assert 900 in rows
    assert 901 not in rows
    assert 902 in rows
    assert 903 not in rows


def test_another_future_changes_nothing_that_was_predicted_or_learned_before(
    lake: Lake, world: World, tmp_path: Path
) -> None:
    before = built(lake, world, tmp_path / "before")
    for number, now in enumerate([datetime(2013, 2, 14, 3), CUTOFF, datetime(2013, 1, 10)]):
        after = built(lake, world.with_another_future(now), tmp_path / f"after-{number}")
        assert after != before
        assert _features_until(now, after) == _features_until(now, before) != {}
        if now >= CUTOFF:
            assert _training_rows(after) == _training_rows(before) != {}


def test_a_label_that_was_known_before_its_event_is_refused_with_its_place(
    lake: Lake, world: World, tmp_path: Path
) -> None:
    at = datetime(2013, 1, 15, 12)
    early = Event(990, "A", at, at - timedelta(minutes=1), True, 1)
    with pytest.raises(UnusableRowsError, match="1 rows of marts/events have a label") as refused:
        built(lake, replace(world, events=[*world.events, early]), tmp_path)
    assert "known_at) before its event (event_at), the first at 2013-01-15 12:00" in str(
        refused.value
    )


def _features_until(now: datetime, rows: Rows) -> dict[int, list[Any]]:
    return {
        key: [value for name, value in row.items() if name != "is_late"]
        for key, row in rows.items()
        if row["predicted_at"] <= now
    }


def _training_rows(rows: Rows) -> Rows:
    return {key: row for key, row in rows.items() if row["split"] == "train"}


def reference(world: World) -> Rows:
    """The training set, found by looking at everything for each row."""
    rows = {}
    for event in world.events:
        evaluated = event.day >= date(2013, 2, 1)
        usable = evaluated or (
            event.known_at is not None
            and event.known_at <= CUTOFF
            and event.predicted_at >= START + TTL
        )
        if event.is_late is None or not usable:
            continue
        rows[event.event] = {
            "event": event.event,
            "x": event.x,
            "origin": event.origin,
            "day": event.day,
            "is_late": event.is_late,
            "predicted_at": event.predicted_at,
            "split": "evaluate" if evaluated else "train",
            **{f"{name}__value": _as_of(world.views[name], event, VIEWS[name]) for name in VIEWS},
        }
    return rows


def _as_of(rows: list[Feature], event: Event, ttl: timedelta | None) -> int | None:
    known = [
        row for row in rows if row.origin == event.origin and row.feature_at <= event.predicted_at
    ]
    newest = max(known, key=lambda row: row.feature_at, default=None)
    if newest is None or (ttl is not None and newest.feature_at <= event.predicted_at - ttl):
        return None
    return newest.value


def built(lake: Lake, world: World, folder: Path) -> Rows:
    """Publish a world's tables and make the training set from them."""
    tables: dict[str, list[Event] | list[Feature]] = {"marts/events": world.events}
    tables |= {f"features/{name}": rows for name, rows in world.views.items()}
    with lake.transaction(f"tx-{folder.name}", list(tables)) as transaction:
        folders = {}
        for table, rows in tables.items():
            for offset in range((LAST - FIRST).days + 1):
                day = FIRST + timedelta(days=offset)
                key = TablePartition(table, Partition.of({"day": day.isoformat()}))
                place = transaction.scratch / key.folder
                place.mkdir(parents=True)
                of_day = [_row(row) for row in rows if row.day == day]
                pq.write_table(pa.Table.from_pylist(of_day, _schema(rows)), place / "part.parquet")
                folders[place] = key
        described = describe_tables(folders)
        transaction.write({folders[place]: (found, place) for place, found in described.items()})
        transaction.publish("a world", {})
    (folder / "training_set").mkdir(parents=True)
    TRAINING_SET.build(lake.snapshot(), MONTH, folder / "training_set")
    found = pq.read_table(folder / "training_set").to_pylist()
    assert len({row["event"] for row in found}) == len(found)
    return {row["event"]: row for row in found}


def _row(row: Event | Feature) -> dict[str, Any]:
    return {**vars(row), "day": row.day}


def _schema(rows: list[Event] | list[Feature]) -> pa.Schema:
    types = {int: pa.int64(), str: pa.string(), date: pa.date32(), datetime: pa.timestamp("us")}
    first = {
        name: next(value for row in rows if (value := _row(row)[name]) is not None)
        for name in _row(rows[0])
    }
    return pa.schema(
        [
            (name, pa.bool_() if isinstance(value, bool) else types[type(value)])
            for name, value in first.items()
        ]
    )
