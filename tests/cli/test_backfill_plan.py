"""What a backfill is to make, decided from a selection and a range before anything is recorded."""

import dagster as dg
import pytest
from installation import FEATURES

from mlops_assets.cli.backfill_plan import targets
from mlops_assets.cli.plan import RequestError


def planned(
    definitions: dg.Definitions, selection: str, partitions: str | None
) -> dict[str, list[str] | None]:
    found = targets(definitions.resolve_asset_graph(), selection, partitions)
    return {
        key.to_user_string(): None if keys is None else [str(part) for part in keys]
        for key, keys in found.items()
    }


def test_a_range_of_days_is_made_of_every_asset_of_the_selection(
    definitions: dg.Definitions,
) -> None:
    days = ["2013-02-27", "2013-02-28", "2013-03-01"]
    found = planned(definitions, "raw/flights+", "2013-02-27..2013-03-01")
    assert found == {"raw/flights": days, "staging/stg_flights": days}
    assert set(planned(definitions, "group:features", "2013-02-27")) == set(FEATURES)


def test_months_of_models_mean_every_origin_or_those_that_are_named(
    definitions: dg.Definitions,
) -> None:
    model = "flight_delay/model"
    assert planned(definitions, model, "2013-11..2013-12")[model] == [
        f"2013-{month}|{origin}" for origin in ("EWR", "JFK", "LGA") for month in (11, 12)
    ]
    assert planned(definitions, model, "2013-12|JFK")[model] == ["2013-12|JFK"]
    assert planned(definitions, model, "2013-12|EWR..JFK")[model] == ["2013-12|EWR", "2013-12|JFK"]


def test_assets_of_one_calendar_are_made_together_and_each_by_its_own_partitions(
    definitions: dg.Definitions,
) -> None:
    learnt = 'key:"flight_delay/training_set" or key:"flight_delay/champion"'
    found = planned(definitions, learnt, "2013-12")
    assert found["flight_delay/training_set"] == ["2013-12"]
    assert found["flight_delay/champion"] == ["2013-12|EWR", "2013-12|JFK", "2013-12|LGA"]
    assert planned(definitions, 'key:"raw/planes" or key:"raw/flights"', "2013-12-31") == {
        "raw/planes": None,
        "raw/flights": ["2013-12-31"],
    }


def test_several_assets_are_named_as_the_refusal_says(definitions: dg.Definitions) -> None:
    several = "key:raw/flights or key:raw/weather"
    assert list(planned(definitions, several, "2013-01-01")) == ["raw/flights", "raw/weather"]


def test_an_asset_without_partitions_is_made_whole(definitions: dg.Definitions) -> None:
    assert planned(definitions, "raw/planes", None) == {"raw/planes": None}


@pytest.mark.parametrize(
    ("selection", "partitions", "told"),
    [
        ("raw/flies", "2013-01-01", "'raw/flies' selects nothing that exists"),
        ("((", "2013-01-01", "'((' selects nothing that exists"),
        (
            "raw/flights or raw/weather",
            "2013-01-01",
            "several as key:raw/flights or key:raw/weather",
        ),
        ("group:nobody", "2013-01-01", "'group:nobody' selects no asset"),
        ("raw/flights", None, "--partitions 2013-01-01..2013-12-31 for all of them"),
        ("raw/flights", "2014-01-01", "there is no partition 2014-01-01 of raw/flights"),
        ("raw/flights", "2013-01-01..", "'2013-01-01..' is no range"),
        ("raw/flights", "2013-01-02..2013-01-01", "ends before it begins"),
        ("raw/flights", "2013-01-01|JFK", "raw/flights has no segments"),
        ("raw/planes", "2013-01-01", "raw/planes has no partitions"),
        ("flight_delay/model", "2013-12|SFO", "there is no partition SFO of"),
        ("*", "2013-12", "make them in a backfill each, what is upstream first"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_way_out(
    definitions: dg.Definitions, selection: str, partitions: str | None, told: str
) -> None:
    with pytest.raises(RequestError) as refused:
        targets(definitions.resolve_asset_graph(), selection, partitions)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
