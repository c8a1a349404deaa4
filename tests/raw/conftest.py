"""Real rows to build sources from, and the whole year read and checked once."""

import random
import zipfile
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.components.contract import Checked, enforce
from mlops_assets.defs.raw import sources
from mlops_assets.defs.raw.contracts import FLIGHTS
from mlops_assets.sources.source import Rows
from mlops_assets.sources.window import DayWindow


class FlightFile:
    """Two real days of flights, to be spoilt and written as `flights.csv`."""

    window = DayWindow(date(2013, 1, 1), date(2013, 1, 2))

    def __init__(self, directory: Path, lines: list[str]) -> None:
        self.directory = directory
        self.header, *self.rows = lines

    @property
    def path(self) -> Path:
        return self.directory / "flights.csv"

    def text(self) -> str:
        return "".join(f"{line}\n" for line in [self.header, *self.rows])

    def set(self, row: int, column: str, value: str) -> None:
        fields = self.rows[row].split(",")
        fields[self.header.split(",").index(column)] = value
        self.rows[row] = ",".join(fields)

    def drop_column(self, column: str) -> None:
        at = self.header.split(",").index(column)
        self.header, *self.rows = (
            ",".join(field for index, field in enumerate(line.split(",")) if index != at)
            for line in [self.header, *self.rows]
        )

    def shuffle(self, seed: int) -> None:
        random.Random(seed).shuffle(self.rows)

    def zip_as(self, text: str, member: str = "flights.csv") -> Path:
        packed = self.directory / "flights.csv.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, text)
        return packed

    def taken(self, window: DayWindow = window) -> Rows:
        """Read the file as it stands, after writing it unless a test wrote its own."""
        if not self.path.exists() and not (self.directory / "flights.csv.zip").exists():
            self.path.write_text(self.text())
        return sources.folder(self.directory).read(FLIGHTS, window)

    def read(self, window: DayWindow = window) -> pa.Table:
        return self.taken(window).complete().table

    def check(self, window: DayWindow = window) -> Checked:
        rows = self.taken(window).complete()
        return enforce(FLIGHTS, rows.table, window, rows.days)


@pytest.fixture(scope="session")
def year() -> DayWindow:
    return sources.SPAN


@pytest.fixture(scope="session")
def checked_year(year: DayWindow) -> Checked:
    rows = sources.folder(sources.bundled_directory()).read(FLIGHTS, year).complete()
    return enforce(FLIGHTS, rows.table, year, rows.days)


@pytest.fixture(scope="session")
def flight_lines() -> list[str]:
    """The header and the flights of 1 and 2 January 2013, as the source writes them."""
    with zipfile.ZipFile(sources.bundled_directory() / "flights.csv.zip") as archive:
        lines = archive.read("flights.csv").decode().splitlines()
    return [lines[0], *(line for line in lines if line.startswith(("2013,1,1,", "2013,1,2,")))]


@pytest.fixture
def flight_file(tmp_path: Path, flight_lines: list[str]) -> FlightFile:
    return FlightFile(tmp_path, flight_lines)
