"""A small real case: what its contracts, its models, its training set and its pictures come to.

Each check with its result, and the digest of every file. Run as a program it prints them as one
JSON document, so that what surrounds two processes can be compared by what they decide.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from installation import open_lake
from small_source import Row, small_source
from toy_problem import ORIGINS, Toy, made_up

from mlops_assets.components.contract import enforce
from mlops_assets.components.partition_files import FILE, write_table
from mlops_assets.components.training_set import Spine, TrainingSet
from mlops_assets.defs.raw.contracts import CONTRACTS
from mlops_assets.defs.raw.sources import folder
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
        toy.publish(MONTH, [row for place in ORIGINS for row in made_up(MONTH, place, rows=400)])
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
    """A training set of instants that carry a zone, around the beginning of its month."""
    first = datetime(2013, 3, 31, 12, tzinfo=UTC)
    moments = [first + timedelta(hours=hour) for hour in range(48)]
    known = [moment + timedelta(hours=1) for moment in moments]
    instant = pa.timestamp("us", tz="UTC")
    events = pa.table(
        {
            "event_at": pa.array(moments, instant),
            "known_at": pa.array(known, instant),
            "day": [moment.date() for moment in moments],
            "place": ["EWR"] * len(moments),
            "label": [number % 3 == 0 for number in range(len(moments))],
        }
    )
    written = {}
    for day in (date(2013, 3, 1) + timedelta(days=number) for number in range(61)):
        folder = scratch / "events" / day.isoformat()
        folder.mkdir(parents=True)
        write_table(events.filter(pc.field("day") == day), folder / FILE)
        key = TablePartition("marts/events", Partition.of({"day": day.isoformat()}))
        written[key] = (describe_tables([folder])[folder], folder)
    with lake.transaction("tx-events", ["marts/events"]) as transaction:
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
    folder = scratch / "set"
    folder.mkdir()
    made = TrainingSet(spine, [], 1, "place", "America/New_York")
    manifest = made.build(lake.snapshot(), Partition.of({"month": MONTH}), folder)
    yield "training set", [manifest.rows, manifest.files[0].sha256]


def pictures() -> Iterator[tuple[str, object]]:
    """A monitor's charts."""
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(20)]
    line = [float(day.day) for day in days]
    charts = (
        Series("", "", "rows", days, {"x": line}, [3]),
        Bars("", "", [("á ü ß", 0.3), ("b", 1.4)]),
    )
    for chart in charts:
        yield type(chart).__name__, digest(picture(chart).png)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def decided(scratch: Path) -> dict[str, object]:
    """All of it.

    Args:
        scratch: An empty folder.
    """
    found = dict(contracts(scratch))
    with EmbeddedServer(scratch / "lakefs") as endpoint:
        lake = open_lake(endpoint, scratch / "scratch")
        found |= dict(models(lake, scratch))
        found |= dict(training_set(lake, scratch))
    return found | dict(pictures())


if __name__ == "__main__":
    json.dump(decided(Path(sys.argv[1])), sys.stdout)
