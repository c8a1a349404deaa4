"""A plain script for the work from raw files to features: no orchestrator, no dbt, no versions.

Run as `python -m bench.plain_year FIRST LAST FOLDER`. It reads the files and checks the rows with
the product's own functions, because reading and checking are the work itself. The warehouse, its
tests and its files are written anew, in plain SQL over tables in memory. `first_day` is the first
day of the data, as a history looks back on what came before its window.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.components.contract import Contract, enforce
from mlops_assets.components.partition_files import FILE, write_partitions, write_table
from mlops_assets.components.quarantine import verdict
from mlops_assets.defs.raw import contracts, sources
from mlops_assets.sources.source import Rows
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import duckdb

ENTITIES = {
    "carrier_history": ("origin", "carrier"),
    "route_history": ("origin", "dest"),
    "origin_history": ("origin",),
    "destination_history": ("dest",),
    "flight_number_history": ("carrier", "flight_number"),
    "aircraft_history": ("tail_number",),
    "origin_congestion": ("origin",),
    "carrier_congestion": ("origin", "carrier"),
}
"""The views of what happened lately, with the columns that name whom it happened to."""

MODELS = {
    "staging.stg_flights": "flight_date",
    "staging.stg_weather": "observation_date",
    "marts.fct_flights": "flight_date",
    **{f"features.{view}": "feature_day" for view in (*ENTITIES, "weather_now", "calendar")},
}
"""Each model with the column that names its day."""


class FailedTestError(Exception):
    """Some rows break a rule of the warehouse; the sentence names the rule."""


def make_tables(window: DayWindow, folder: Path) -> None:
    """Write every table from raw to features into `folder`, a Parquet file for each day.

    Args:
        window: The days, from the first of the data.
        folder: Gets `raw/flights/day=2013-01-01/part-0.parquet` and so on; must be empty.

    Raises:
        SourceError: A source file cannot be read.
        FailedTestError: Too many rows break a contract, or some a test.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema raw")
        _ingest(connection, window, folder)
        for name, day in (("first_day", window.first), ("last_day", window.last)):
            connection.execute(f"set variable {name} = date '{day}'")
        connection.execute(_sql("plain_year.sql"))
        _check(connection)
        for model, day_column in MODELS.items():
            _write(connection, model, day_column, window, folder)


def _ingest(connection: duckdb.DuckDBPyConnection, window: DayWindow, folder: Path) -> None:
    source = sources.folder(sources.bundled_directory())
    for contract in contracts.CONTRACTS.values():
        days = window if contract.days else None
        _keep(connection, contract, source.read(contract, days).complete(), folder, days)


def _keep(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    rows: Rows,
    folder: Path,
    window: DayWindow | None = None,
) -> None:
    """Check the rows, write those that pass and those that do not, and load the former."""
    checked = enforce(contract, rows.table, window, rows.days)
    judged = verdict(contract.table, contract.max_quarantined_share, checked.counts(window))
    if not judged.passed:
        raise FailedTestError(judged.sentence)
    accepted, quarantined = (
        folder / "raw" / f"{contract.table}{end}" for end in ("", "_quarantine")
    )
    if window is None or checked.accepted_days is None or checked.quarantined_days is None:
        accepted.mkdir(parents=True)
        write_table(checked.accepted, accepted / FILE)
        if checked.quarantined.num_rows:
            quarantined.mkdir()
            write_table(checked.quarantined, quarantined / FILE)
    else:
        write_partitions(checked.accepted, checked.accepted_days, window, accepted)
        bad = sorted(set(checked.quarantined_days.to_pylist()))
        write_partitions(checked.quarantined, checked.quarantined_days, bad, quarantined)
    connection.register("accepted", checked.accepted)
    connection.execute(f"create table raw.{contract.table} as from accepted")
    connection.unregister("accepted")


def _check(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(_sql("plain_year_tests.sql"))
    broken = connection.execute("from broken_rules").fetchall()
    for view, entities in ENTITIES.items():
        broken += connection.execute(_rules(view, entities)).fetchall()
    for rule, rows in broken:
        if rows:
            raise FailedTestError(f"{rule}: {rows} rows break it.")


def _rules(view: str, entities: tuple[str, ...]) -> str:
    """How many rows of a view of what happened lately break each of its rules."""
    key = ("feature_at", *entities)
    table, keys = f"features.{view}", ", ".join(key)
    missing = " or ".join(f"{name} is null" for name in key)
    return f"""
        select '{view} has one row a moment and entity', count(*)
        from (select 1 from {table} group by {keys} having count(*) > 1 or {missing})
        union all
        select '{view} lies in the window', count(*) from {table} where misdated(feature_day)
        union all
        select '{view} has possible figures', (select count(*) from {table}) - count(*) from {table}
        where coalesce(columns('_(flights|departures)_|_overdue_'), 0) >= 0
            and coalesce(columns('_rate_'), 0) between 0 and 1
    """


def _write(
    connection: duckdb.DuckDBPyConnection,
    model: str,
    day_column: str,
    window: DayWindow,
    folder: Path,
) -> None:
    for day in window:
        file = folder / model.replace(".", "/") / f"day={day}" / FILE
        file.parent.mkdir(parents=True)
        connection.execute(
            f"copy (from {model} where {day_column} = date '{day}' order by all) "
            f"to '{file}' (format parquet, compression zstd)"
        )


def _sql(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


if __name__ == "__main__":
    first_day, last_day, target = sys.argv[1:]
    days = DayWindow(date.fromisoformat(first_day), date.fromisoformat(last_day))
    make_tables(days, Path(target))
