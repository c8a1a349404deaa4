"""Which runs a request becomes."""

import pytest

from mlops_assets.cli.plan import Calendar, Request, RequestError, days_span, launches

CALENDAR = Calendar(
    days=["2013-01-01", "2013-01-02", "2013-01-03"],
    months=["2013-11", "2013-12"],
    origins=["EWR", "JFK"],
)
PREPARE = [("reference_tables", None), ("days_to_features", None)]


def jobs(request: Request) -> list[tuple[str, str | None]]:
    return [(launch.job, launch.partition) for launch in launches(request, CALENDAR)]


@pytest.mark.parametrize(
    ("request_", "models"),
    [
        (Request(), ("2013-12", ["EWR", "JFK"])),
        (Request(month="2013-11"), ("2013-11", ["EWR", "JFK"])),
        (Request(origins=["JFK"]), ("2013-12", ["JFK"])),
        (Request(("2013-01-01", "2013-01-02"), "2013-11", ["EWR"]), ("2013-11", ["EWR"])),
    ],
)
def test_a_month_is_trained_for_once_and_judged_for_each_origin(
    request_: Request, models: tuple[str, list[str]]
) -> None:
    month, origins = models
    assert jobs(request_) == [
        *PREPARE,
        ("flight_delay_training_set", month),
        *(("flight_delay_evaluation", f"{month}|{origin}") for origin in origins),
    ]


def test_days_alone_train_nothing() -> None:
    assert jobs(Request(("2013-01-02", "2013-01-03"))) == PREPARE


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (None, "2013-01-01", "2013-01-03"),
        (("2013-01-02", "2013-01-02"), "2013-01-02", "2013-01-02"),
    ],
)
def test_all_days_are_one_run_over_a_range(
    days: tuple[str, str] | None, first: str, last: str
) -> None:
    assert launches(Request(days), CALENDAR)[1].tags == {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request(("2012-12-31", "2013-01-01")), "no day 2012-12-31"),
        (Request(("2013-01-03", "2013-01-04")), "no day 2013-01-04"),
        (Request(month="2013-01"), "no model of 2013-01"),
        (Request(origins=["ORD"]), "no origin ORD"),
        (Request(("2013-01-01", "2013-01-01"), None, ["JFK"]), "add --month"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_runs(request_: Request, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        launches(request_, CALENDAR)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("2013-01-01..2013-01-07", ("2013-01-01", "2013-01-07")),
        ("2013-01-01", ("2013-01-01", "2013-01-01")),
    ],
)
def test_a_span_of_days_is_read(text: str, span: tuple[str, str]) -> None:
    assert days_span(text) == span


@pytest.mark.parametrize("text", ["", "2013-01-01..", "2013-13-01", "2013-01-02..2013-01-01"])
def test_what_is_no_span_of_days_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        days_span(text)
