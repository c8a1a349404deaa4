"""A DuckDB file that dbt builds into, and the window of days that these tests build.

The window holds the night of 2013-11-03, on which clocks went back: a local day of 25 hours,
weather hours that come twice on the local clock, and flights in the air meanwhile.
"""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

PROJECT = Path(__file__).parents[2] / "dbt_project"
FIRST_DAY = dt.date(2013, 10, 18)
LAST_DAY = dt.date(2013, 11, 6)
LONG_DAY = dt.date(2013, 11, 3)
RAW_TABLES = ("flights", "weather", "planes", "airports", "airlines")


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file that dbt builds into, and what dbt said when it did."""

    path: Path
    target: Path

    def execute(self, *statements: str) -> None:
        with duckdb.connect(str(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            return connection.execute(query).fetchall()

    def columns(self, table: str) -> list[str]:
        return [row[0] for row in self.rows(f"describe {table}")]

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.target / "manifest.json").read_text())

    def build(self, *arguments: str, **window: dt.date) -> Any:
        """Run `dbt build` for the days from `first_day` to `last_day`, both included."""
        from dbt.cli.main import dbtRunner

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBT_DUCKDB_PATH", str(self.path))
            return dbtRunner().invoke(
                [
                    *("--quiet", "--log-level-file", "none", "--no-use-colors", "build"),
                    *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
                    *("--target-path", str(self.target), "--log-path", str(self.target)),
                    *("--vars", json.dumps({name: str(day) for name, day in window.items()})),
                    *arguments,
                ]
            )


def failures(result: Any) -> list[str]:
    """What went wrong in a dbt run, empty when all models were built and all tests passed."""
    if result.exception is not None:
        return [str(result.exception)]
    return [
        f"{run.node.name}: {run.message}"
        for run in result.result
        if run.status not in ("success", "pass")
    ]


def parquet_view(schema: str, table: str, file: Path, where: str = "true") -> str:
    return (
        f"create or replace view {schema}.{table} as "
        f"select * from read_parquet('{file}') where {where}"
    )
