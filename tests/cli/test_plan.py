"""Which runs a request becomes."""

import pytest

from mlops_assets.cli.plan import (
    Calendar,
    Launch,
    Request,
    RequestError,
    days_span,
    launches,
    months_span,
)

CALENDAR = Calendar(
    days=["2013-01-01", "2013-01-02", "2013-01-03"],
    months=["2013-11", "2013-12"],
    origins=["EWR", "JFK"],
)
PREPARE = [("reference_tables", None), ("days_to_features", None)]


def jobs(request: Request) -> list[tuple[str, str | None]]:
    return [(launch.job, launch.partition) for launch in launches(request, CALENDAR)]


def ranges(planned: list[Launch]) -> list[tuple[str, str, str]]:
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return [
        (
            launch.job.removeprefix("flight_delay_"),
            *(launch.tags.get(tag, launch.partition or "") for tag in (start, end)),
        )
        for launch in planned
    ]


@pytest.mark.parametrize(
    ("request_", "months", "origins"),
    [
        (Request(), ("2013-12", "2013-12"), [("EWR", "JFK")]),
        (Request(months=("2013-11", "2013-11")), ("2013-11", "2013-11"), [("EWR", "JFK")]),
        (Request(months=("2013-11", "2013-12")), ("2013-11", "2013-12"), [("EWR", "JFK")]),
        (Request(origins=["JFK", "EWR"]), ("2013-12", "2013-12"), [("EWR", "JFK")]),
        (Request(origins=["JFK"]), ("2013-12", "2013-12"), [("JFK", "JFK")]),
        (
            Request(("2013-01-01", "2013-01-02"), ("2013-11", "2013-11"), ["EWR"]),
            ("2013-11", "2013-11"),
            [("EWR", "EWR")],
        ),
    ],
)
def test_all_months_are_one_run_of_training_sets_and_one_of_all_origins(
    request_: Request, months: tuple[str, str], origins: list[tuple[str, str]]
) -> None:
    planned = launches(request_, CALENDAR)
    assert [(launch.job, launch.partition) for launch in planned[:2]] == PREPARE
    assert ranges(planned[2:]) == [
        ("training_set", *months),
        *(("evaluation", f"{months[0]}|{first}", f"{months[1]}|{last}") for first, last in origins),
    ]


def test_models_alone_start_from_the_features_that_exist() -> None:
    planned = launches(Request(models_only=True), CALENDAR)
    assert [launch.job for launch in planned] == [
        "flight_delay_training_set",
        "flight_delay_evaluation",
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
        (Request(months=("2013-01", "2013-12")), "no model of 2013-01"),
        (Request(origins=["ORD"]), "no origin ORD"),
        (Request(("2013-01-01", "2013-01-01"), None, ["JFK"]), "add --month"),
        (Request(("2013-01-01", "2013-01-01"), models_only=True), "leave --days out"),
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


@pytest.mark.parametrize(
    ("text", "span"),
    [("2013-04..2013-12", ("2013-04", "2013-12")), ("2013-04", ("2013-04", "2013-04"))],
)
def test_a_span_of_months_is_read(text: str, span: tuple[str, str]) -> None:
    assert months_span(text) == span


@pytest.mark.parametrize("text", ["", "2013-01-01..", "2013-13-01", "2013-01-02..2013-01-01"])
def test_what_is_no_span_of_days_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        days_span(text)


@pytest.mark.parametrize("text", ["", "2013-04..", "2013-13", "2013-12..2013-04", "2013-04-01"])
def test_what_is_no_span_of_months_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        months_span(text)
