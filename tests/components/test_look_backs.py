"""A look-back over days of which some never came: what is there is used, up to a limit."""

import dagster as dg
from installation import FEATURES, MARTS, RAW, Installation

from mlops_assets.lake import Partition, TablePartition

FACTS = "marts/fct_flights"
HISTORY = "features/carrier_history"


def remove(installation: Installation, *days: str) -> None:
    keys = [TablePartition(FACTS, Partition.of({"day": day})) for day in days]
    with installation.lake.transaction("tx-remove", [FACTS]) as transaction:
        transaction.remove(keys)
        transaction.publish("days go", {})


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error)


def test_a_day_is_built_without_a_day_before_it_and_again_when_that_comes(
    built: Installation,
) -> None:
    whole = built.lake.snapshot().stored(HISTORY)
    remove(built, "2013-01-03")

    assert built.materialize(FEATURES, "2013-01-04").success

    day = Partition.of({"day": "2013-01-04"})
    assert built.lake.snapshot().stored(HISTORY)[day].manifest != whole[day].manifest
    assert built.materialize(MARTS, "2013-01-03").success
    assert built.materialize(FEATURES, "2013-01-04").success
    assert built.lake.snapshot().stored(HISTORY)[day].manifest == whole[day].manifest


def test_a_day_is_never_built_without_its_own_events(built: Installation) -> None:
    remove(built, "2013-01-04")

    result = built.materialize(FEATURES, "2013-01-04")

    assert f"{FACTS} day=2013-01-04 does not exist" in failure(result)


def test_a_day_is_not_built_when_too_much_before_it_is_missing(built: Installation) -> None:
    assert built.materialize((*RAW, *MARTS), "2013-01-05").success
    remove(built, *(f"2013-01-0{number}" for number in range(1, 5)))

    result = built.materialize(FEATURES, "2013-01-05")

    assert f"{FACTS} day=2013-01-01 and 3 more does not exist" in failure(result)
