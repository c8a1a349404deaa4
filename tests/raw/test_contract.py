"""Each row is accepted or quarantined with its reasons, and none is lost."""

from collections import Counter
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.components.contract import (
    CONTRADICTED,
    OUTSIDE,
    REPEATED,
    ContractError,
    enforce,
)
from mlops_assets.components.quarantine import verdict
from mlops_assets.defs.raw import sources
from mlops_assets.defs.raw.contracts import AIRLINES, AIRPORTS, CONTRACTS, FLIGHTS, PLANES, WEATHER
from mlops_assets.sources.window import DayWindow

BUNDLED = sources.folder(sources.bundled_directory())


def reasons(checked) -> list[str]:
    return checked.quarantined["reason"].to_pylist()


def judge(contract, checked, window=None):
    return verdict(contract.table, contract.max_quarantined_share, checked.counts(window))


def test_every_flight_of_the_year_keeps_the_contract(checked_year, year):
    assert (checked_year.accepted.num_rows, checked_year.quarantined.num_rows) == (336_776, 0)
    found = judge(FLIGHTS, checked_year, year)
    assert found.passed
    assert len(found.counts) == 365
    assert sum(count.accepted for count in found.counts) == 336_776


def test_of_the_years_weather_one_impossible_wind_is_quarantined(year):
    checked = enforce(WEATHER, BUNDLED.read(WEATHER, year).table, year)
    assert checked.accepted.num_rows == 26_114
    assert checked.quarantined["wind_speed"].to_pylist() == [1048.36058]
    assert checked.quarantined_days.to_pylist() == [date(2013, 2, 12)]
    assert judge(WEATHER, checked, year).passed


def test_the_airports_on_the_wrong_side_of_the_globe_are_quarantined():
    checked = enforce(AIRPORTS, BUNDLED.read(AIRPORTS, None).table)
    assert checked.accepted.num_rows == 1455
    assert checked.quarantined["faa"].to_pylist() == ["DVT", "EEN", "MYF"]
    assert judge(AIRPORTS, checked).passed


def test_every_plane_and_airline_keeps_its_contract():
    planes = enforce(PLANES, BUNDLED.read(PLANES, None).table)
    airlines = enforce(AIRLINES, BUNDLED.read(AIRLINES, None).table)
    assert (planes.accepted.num_rows, planes.quarantined.num_rows) == (3322, 0)
    assert (airlines.accepted.num_rows, airlines.quarantined.num_rows) == (16, 0)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("origin", "BOS", "origin breaks isin(('EWR', 'JFK', 'LGA'))"),
        ("origin", "NA", "origin is missing"),
        ("carrier", "united", r"carrier breaks str_matches('^[A-Z0-9]{2}\Z')"),
        ("flight", "0", "flight breaks in_range(1, 9999)"),
        ("distance", "NA", "distance is missing"),
        ("arr_time", "1299", "arr_time breaks the form HHMM"),
        ("arr_delay", "5000", "arr_delay breaks in_range(-240, 4320)"),
        ("dep_delay", "3", "dep_delay is not the time between sched_dep_time and dep_time"),
        ("dep_delay", "NA", "only one of dep_time and dep_delay is there"),
        ("air_time", "NA", "arr_delay is there without arr_time and air_time"),
        ("dest", "EWR", "dest is origin"),
        ("minute", "16", "sched_dep_time is not hour and minute"),
        (
            "time_hour",
            "2013-01-01T11:00:00Z",
            "time_hour is another hour than year, month, day and hour state",
        ),
    ],
)
def test_a_row_that_breaks_one_rule_is_quarantined_for_that_reason(
    flight_file, column, value, reason
):
    flight_file.set(0, column, value)
    checked = flight_file.check()
    assert reasons(checked) == [reason]
    assert checked.accepted.num_rows == len(flight_file.rows) - 1


def test_a_flight_that_arrives_without_leaving_is_quarantined(flight_file):
    flight_file.set(0, "dep_time", "NA")
    flight_file.set(0, "dep_delay", "NA")
    assert reasons(flight_file.check()) == ["the flight arrives without having left"]


def test_all_reasons_of_a_row_are_given_in_order(flight_file):
    flight_file.set(0, "flight", "0")
    flight_file.set(0, "distance", "0")
    assert reasons(flight_file.check()) == [
        "distance breaks in_range(1, 12450); flight breaks in_range(1, 9999)"
    ]


def test_of_identical_rows_one_is_accepted(flight_file):
    flight_file.rows += [flight_file.rows[3]] * 2
    checked = flight_file.check()
    assert reasons(checked) == [REPEATED, REPEATED]
    assert checked.accepted.num_rows == len(flight_file.rows) - 2


def test_of_rows_with_one_key_that_differ_none_is_accepted(flight_file):
    flight_file.rows.append(flight_file.rows[3])
    flight_file.set(-1, "tailnum", "N12345")
    checked = flight_file.check()
    assert reasons(checked) == [CONTRADICTED, CONTRADICTED]
    assert checked.accepted.num_rows == len(flight_file.rows) - 2


def test_rows_without_a_key_are_incomplete_and_not_each_others_copies(flight_file):
    for row in (3, 4):
        flight_file.set(row, "carrier", "NA")
    assert reasons(flight_file.check()) == ["carrier is missing"] * 2


def test_a_row_whose_day_is_no_day_of_the_source_lands_in_the_quarantine_of_its_hour(flight_file):
    flight_file.set(0, "year", "2012")
    checked = flight_file.check()
    assert checked.quarantined_days.to_pylist() == [date(2013, 1, 1)]
    assert OUTSIDE in reasons(checked)[0]


def test_a_day_that_does_not_exist_is_quarantined(flight_file):
    flight_file.set(0, "month", "2")
    flight_file.set(0, "day", "30")
    assert OUTSIDE in reasons(flight_file.check())[0]


def test_a_row_outside_of_the_partition_is_quarantined_and_never_accepted(flight_file):
    both_days = flight_file.read()
    first = DayWindow(date(2013, 1, 1), date(2013, 1, 1))
    checked = enforce(FLIGHTS, both_days, first)
    assert checked.accepted.num_rows == 842
    assert set(reasons(checked)) == {OUTSIDE}
    assert checked.quarantined.num_rows == both_days.num_rows - 842
    assert set(checked.quarantined_days.to_pylist()) == {date(2013, 1, 1)}


def test_a_misdated_row_is_quarantined_alike_by_a_range_and_by_its_day_alone(flight_file):
    flight_file.set(0, "year", "2012")
    flight_file.set(1, "time_hour", "2013-01-02T10:00:00Z")
    in_range = flight_file.check()
    day = DayWindow(date(2013, 1, 1), date(2013, 1, 1))
    alone = flight_file.check(day)
    of_the_day = pa.compute.equal(in_range.quarantined_days, pa.scalar(day.first, pa.date32()))
    assert in_range.quarantined.filter(of_the_day).equals(alone.quarantined)
    assert alone.quarantined.num_rows == 2


def test_a_misdated_copy_spoils_no_row_of_another_day(flight_file):
    flight_file.rows.append(flight_file.rows[3])
    flight_file.set(-1, "day", "2")
    checked = flight_file.check()
    assert checked.quarantined_days.to_pylist() == [date(2013, 1, 2)]
    assert checked.accepted.num_rows == len(flight_file.rows) - 1


def test_a_day_with_too_many_bad_rows_fails_by_name(flight_file):
    for row in range(20):
        flight_file.set(row, "distance", "-1")
    found = judge(FLIGHTS, flight_file.check(), flight_file.window)
    assert [count.day for count in found.exceeded] == [date(2013, 1, 1)]
    assert "20 of 842 rows of 2013-01-01" in found.sentence
    assert "distance breaks in_range(1, 12450) (20 times)" in found.sentence


def test_nan_is_no_measurement_even_if_a_source_lets_it_through():
    table = BUNDLED.read(AIRPORTS, None).table
    latitudes = [float("nan"), *table["lat"].to_pylist()[1:]]
    table = table.set_column(table.column_names.index("lat"), "lat", pa.array(latitudes))
    checked = enforce(AIRPORTS, table)
    assert "lat breaks in_range(-90, 90)" in reasons(checked)


# Left to describe every failing value, pandera needs four minutes for this.
@pytest.mark.timeout(100)
def test_a_year_with_one_wrong_column_is_quarantined_whole(checked_year, year):
    spoilt = checked_year.accepted
    wrong = pa.array([99] * spoilt.num_rows, pa.int32())
    spoilt = spoilt.set_column(spoilt.column_names.index("minute"), "minute", wrong)
    checked = enforce(FLIGHTS, spoilt, year)
    assert checked.quarantined.num_rows == 336_776
    assert judge(FLIGHTS, checked, year).sentence.endswith("the rule that is wrong.")


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.table)
def test_a_table_without_rows_keeps_its_schema(contract):
    window = None if contract.days is None else DayWindow(date(2013, 12, 31), date(2013, 12, 31))
    checked = enforce(contract, contract.schema().empty_table(), window)
    assert checked.accepted.schema == contract.schema()
    assert checked.quarantined.schema == contract.quarantine_schema()
    assert judge(contract, checked, window).passed


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.table)
def test_every_column_of_a_contract_has_a_rule(contract):
    assert set(contract.rules().columns) == set(contract.columns)


def test_a_table_of_other_columns_or_types_is_refused():
    table = BUNDLED.read(AIRLINES, None).table
    with pytest.raises(ContractError, match="airlines lacks the column name"):
        enforce(AIRLINES, table.drop_columns(["name"]))
    numbers = table.set_column(1, "name", pa.array(range(16), pa.int64()))
    with pytest.raises(ContractError, match="the column name holds int64, not string"):
        enforce(AIRLINES, numbers)


def test_a_daily_table_is_never_checked_without_its_days():
    with pytest.raises(ValueError, match="window=None"):
        enforce(FLIGHTS, FLIGHTS.schema().empty_table())


@st.composite
def readings(draw) -> dict:
    return {
        "origin": draw(st.sampled_from(["EWR", "JFK", "BOS", None])),
        "year": draw(st.sampled_from([2013, 2013, 2012, None])),
        "month": draw(st.sampled_from([1, 1, 2, 13, None])),
        "day": draw(st.sampled_from([1, 2, 31, 0])),
        "hour": draw(st.sampled_from([0, 19, 24])),
        "temp": draw(st.sampled_from([30.0, 999.0, float("nan"), None])),
        "time_hour": draw(
            st.sampled_from([1357016400_000000, 1357084800_000000, 1359777600_000000, None])
        ),
    }


@settings(max_examples=25)
@given(st.lists(readings(), max_size=12))
def test_every_row_of_any_table_is_in_exactly_one_of_accepted_and_quarantined(rows):
    table = pa.Table.from_pylist(rows, schema=WEATHER.schema())
    window = DayWindow(date(2013, 1, 1), date(2013, 1, 2))
    checked = enforce(WEATHER, table, window)
    after = pa.concat_tables([checked.accepted, checked.quarantined.drop_columns(["reason"])])

    def counted(rows: pa.Table) -> Counter:
        return Counter(map(repr, rows.to_pylist()))

    assert counted(after) == counted(table)
    assert all(reasons(checked))
    assert all(day in window for day in checked.quarantined_days.to_pylist())
    keys = checked.accepted.select(WEATHER.key).to_pylist()
    assert len({repr(key) for key in keys}) == len(keys)


@settings(max_examples=10)
@given(
    st.lists(readings(), max_size=8).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    )
)
def test_the_order_of_the_source_changes_nothing(two_orders):
    window = DayWindow(date(2013, 1, 1), date(2013, 1, 2))
    one, other = (
        enforce(WEATHER, pa.Table.from_pylist(rows, schema=WEATHER.schema()), window)
        for rows in two_orders
    )
    assert repr(one.accepted.to_pylist()) == repr(other.accepted.to_pylist())
    assert repr(one.quarantined.to_pylist()) == repr(other.quarantined.to_pylist())
    assert one.quarantined_days == other.quarantined_days
