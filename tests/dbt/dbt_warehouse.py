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

from mlops_assets.components import dbt_build

PROJECT = Path(__file__).parents[2] / "dbt_project"
FIRST_DAY = dt.date(2013, 10, 1)
LAST_DAY = dt.date(2013, 11, 6)
LONG_DAY = dt.date(2013, 11, 3)
MODELS = sorted(f"{file.parent.name}/{file.stem}" for file in (PROJECT / "models").glob("*/*.sql"))
RAW_TABLES = ("flights", "weather", "planes", "airports", "airlines")


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file that dbt builds into, and the folder that holds dbt's parsed project."""

    path: Path
    prepared: Path

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
        return json.loads((self.prepared / "manifest.json").read_text())

    def build(self, *models: str, **window: dt.date) -> list[str]:
        """Build models, all unless named, for the days from `first_day` to `last_day`.

        Returns:
            What went wrong: empty when every model was built and every test passed.
        """
        written = self.path.parent / "tables"
        days = (window["last_day"] - window["first_day"]).days + 1 if len(window) == 2 else 0
        for model in MODELS if days else ():
            for n in range(days):
                day = window["first_day"] + dt.timedelta(days=n)
                (written / model / f"day={day}").mkdir(parents=True, exist_ok=True)
        manifest = self.manifest()
        names = [model.rpartition("/")[2] for model in models or MODELS]
        outcome = dbt_build.build(
            manifest,
            self.prepared,
            [manifest["nodes"][f"model.mlops_assets.{name}"] for name in names],
            self.path,
            {"lake_root": str(written), **{name: str(day) for name, day in window.items()}},
        )
        if outcome.error is not None:
            return [outcome.error]
        return [f"{node.unique_id}: {node.message}" for node in outcome.failures]


def parquet_view(schema: str, table: str, file: Path, where: str = "true") -> str:
    return (
        f"create or replace view {schema}.{table} as "
        f"select * from read_parquet('{file}') where {where}"
    )
