"""A small real case, run as a program: what its contract, its models and its pictures came to.

It prints one JSON document, so that two environments can be compared: each check with its result,
and the digest of every file that it published.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from installation import open_lake
from small_source import Row, small_source
from toy_problem import Toy, made_up

from mlops_assets.components.contract import enforce
from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.components.training_set import Spine, TrainingSet
from mlops_assets.defs.raw.contracts import CONTRACTS
from mlops_assets.defs.raw.sources import folder
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.monitors.charts import Bars, Series
from mlops_assets.monitors.pictures import picture
from mlops_assets.sources.window import DayWindow

DAYS = DayWindow(date(2013, 1, 1), date(2013, 1, 2))
MONTH = "2013-04"


def spoiled(row: Row) -> None:
    """Some flights break their contract, each rule of another kind."""
    match int(row["flight"]) % 40:
        case 1:
            row["carrier"] = "?"
        case 2:
            row["distance"] = "999999"
        case 3:
            row["dest"] = row["origin"]
        case 4:
            row["tailnum"] = ""
            row["origin"] = ""


def contracts(scratch: Path) -> Iterator[tuple[str, object]]:
    """What is accepted of a source, and why the rest is not."""
    source = folder(small_source(scratch / "source", spoiled, days=2, every=4))
    for name, contract in CONTRACTS.items():
        window = DAYS if contract.days else None
        rows = source.read(contract, window)
        checked = enforce(contract, rows.table, window, rows.days)
        for kind, table in (("accepted", checked.accepted), ("quarantined", checked.quarantined)):
            path = scratch / f"{name}-{kind}.parquet"
            write_table(table, path)
            yield f"{name} {kind}", digest(path.read_bytes())
        yield (
            f"{name} reasons",
            {str(count.day): dict(count.reasons) for count in checked.counts(window)},
        )


def models(lake: Lake, scratch: Path) -> Iterator[tuple[str, object]]:
    """What a problem publishes, and what its gates found."""
    with dg.DagsterInstance.ephemeral() as instance:
        toy = Toy(lake, scratch, instance)
        toy.publish(MONTH, [row for place in ("EWR", "JFK") for row in made_up(MONTH, place, rows=800)])
        result = toy.run(f"{MONTH}|JFK")
        yield "the run succeeded", result.success
        for found in result.get_asset_check_evaluations():
            yield f"gate {found.check_name}", [found.passed, found.description]
    snapshot = lake.snapshot()
    for table in ("model", "evaluation_report", "champion"):
        for part in snapshot.stored(f"toy/{table}").values():
            for file in part.manifest.files:
                yield f"{table} {file.name}", file.sha256


def training_set(lake: Lake, scratch: Path) -> Iterator[tuple[str, object]]:
    """A training set whose instants carry a zone, around the ends of its months."""
    start = datetime(2013, 3, 31, 12, tzinfo=UTC)
    moments = [start + timedelta(hours=hour) for hour in range(48)]
    events = pa.table(
        {
            "event_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "known_at": pa.array([m + timedelta(hours=1) for m in moments], pa.timestamp("us", tz="UTC")),
            "day": pa.array([m.date() for m in moments]),
            "place": ["EWR"] * len(moments),
            "label": [hour % 3 == 0 for hour in range(len(moments))],
        }
    )
    days = [date(2013, 3, 1) + timedelta(days=day) for day in range(61)]
    keys = {TablePartition("marts/events", Partition.of({"day": day.isoformat()})): day for day in days}
    with lake.transaction("tx-events", ["marts/events"]) as transaction:
        written = {}
        for key, day in keys.items():
            place = scratch / "events" / day.isoformat()
            place.mkdir(parents=True)
            pq.write_table(events.filter(pa.compute.equal(events["day"], pa.scalar(day))), place / FILE)
            written[key] = (describe_tables([place])[place], place)
        transaction.write(written)
        transaction.publish("events", {})
    spine = Spine(
        table="marts/events",
        keys=["event_at"],
        day="day",
        event_time="event_at",
        lead_minutes=60,
        label="label",
        label_known_at="known_at",
        features=["place"],
    )
    made = TrainingSet(spine, [], 1, "place", "America/New_York")
    target = scratch / "set"
    target.mkdir()
    manifest = made.build(lake.snapshot(), Partition.of({"month": MONTH}), target)
    yield "training set rows", manifest.rows
    yield "training set", digest((target / FILE).read_bytes())


def pictures() -> Iterator[tuple[str, object]]:
    """A monitor's charts."""
    days = [date(2013, 1, 1) + timedelta(days=day) for day in range(20)]
    yield "series", digest(picture(Series("t", "e", "rows", days, {"x": [float(d.day) for d in days]}, [3])).png)
    yield "bars", digest(picture(Bars("t", "e", [("a − ü", 0.3), ("b", 1.4)])).png)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = dict(contracts(scratch))
        with EmbeddedServer(scratch / "lakefs") as endpoint:
            lake = open_lake(endpoint, scratch / "scratch")
            found |= dict(models(lake, scratch))
            found |= dict(training_set(lake, scratch))
        found |= dict(pictures())
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
