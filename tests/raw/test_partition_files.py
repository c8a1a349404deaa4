"""Equal rows are equal bytes, one file for each day."""

import hashlib
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.components.partition_files import write_partitions, write_table
from mlops_assets.defs.raw.contracts import FLIGHTS, WEATHER
from mlops_assets.sources.window import DayWindow


def digests(files) -> dict[date, str]:
    return {day: hashlib.sha256(path.read_bytes()).hexdigest() for day, path in files.items()}


def written(checked, window, directory) -> dict[date, str]:
    directory.mkdir()
    return digests(write_partitions(checked.accepted, checked.accepted_days, window, directory))


def test_the_year_becomes_one_file_a_day_that_holds_that_day(checked_year, year, tmp_path):
    files = write_partitions(checked_year.accepted, checked_year.accepted_days, year, tmp_path)
    assert list(files) == list(year)
    day = pq.read_table(files[date(2013, 6, 14)])
    assert day.num_rows == 989
    assert day.schema == FLIGHTS.schema()
    assert set(zip(day["month"].to_pylist(), day["day"].to_pylist(), strict=True)) == {(6, 14)}
    assert sum(pq.read_metadata(path).num_rows for path in files.values()) == 336_776


def test_a_day_has_the_same_bytes_in_any_run_any_range_and_any_order_of_the_source(
    checked_year, year, flight_file, tmp_path
):
    of_the_year = written(checked_year, year, tmp_path / "year")
    flight_file.shuffle(seed=1)
    of_two_days = written(flight_file.check(), flight_file.window, tmp_path / "two")
    flight_file.shuffle(seed=2)
    alone = DayWindow(date(2013, 1, 2), date(2013, 1, 2))
    of_one_day = written(flight_file.check(alone), alone, tmp_path / "one")
    assert of_two_days == {day: of_the_year[day] for day in flight_file.window}
    assert of_one_day == {day: of_the_year[day] for day in alone}


def test_quarantined_rows_have_the_same_bytes_in_any_order_of_the_source(flight_file, tmp_path):
    for row in (0, 5, 900):
        flight_file.set(row, "distance", "0")
    flight_file.rows += [flight_file.rows[7]] * 2
    runs = []
    for seed in (1, 2):
        flight_file.path.unlink(missing_ok=True)
        flight_file.shuffle(seed)
        checked = flight_file.check()
        directory = tmp_path / str(seed)
        directory.mkdir()
        runs.append(
            digests(
                write_partitions(
                    checked.quarantined, checked.quarantined_days, flight_file.window, directory
                )
            )
        )
    assert runs[0] == runs[1]


def test_a_day_without_rows_is_a_file_with_the_schema(tmp_path):
    window = DayWindow(date(2013, 12, 31), date(2013, 12, 31))
    files = write_partitions(
        WEATHER.schema().empty_table(), pa.array([], pa.date32()), window, tmp_path
    )
    table = pq.read_table(files[window.first])
    assert (table.num_rows, table.schema) == (0, WEATHER.schema())


def test_the_bytes_name_no_frame_and_no_arrow_schema(checked_year, tmp_path):
    write_table(checked_year.accepted.slice(0, 100), tmp_path / "a.parquet")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert metadata.metadata is None
    assert metadata.num_row_groups == 1


def test_how_a_table_is_chunked_does_not_show_in_its_bytes(checked_year, tmp_path):
    whole = checked_year.accepted.slice(0, 900)
    pieces = pa.concat_tables([whole.slice(0, 450), whole.slice(450)])
    write_table(whole, tmp_path / "whole.parquet")
    write_table(pieces, tmp_path / "pieces.parquet")
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "pieces.parquet").read_bytes()


@pytest.mark.parametrize("day", [date(2013, 1, 3), date(2012, 12, 31), None])
def test_a_row_that_no_file_would_hold_is_refused(flight_file, tmp_path, day):
    row = flight_file.read().slice(0, 1)
    with pytest.raises(ValueError, match="no file would hold them"):
        write_partitions(row, pa.array([day], pa.date32()), flight_file.window, tmp_path)
