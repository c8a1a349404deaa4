"""Days that land while the daemon is on: everything follows without a hand, and exactly that."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from installation import FEATURES, MARTS, RAW, copied
from landed_days import Landing, landing, prepare, started_by
from landed_files import land

CALENDAR, PREDICTIONS = "features/calendar", "flight_delay/predictions"
FLIGHTS, FACTS, HISTORY = "raw/flights", "marts/fct_flights", "features/carrier_history"
MONITORS = tuple(
    f"flight_delay/monitor_{name}"
    for name in ("performance", "drift", "concept", "quality", "freshness")
)
# The calendar reads nothing: all of its days are made when the sensor is switched on.
FOLLOWED = (
    *RAW,
    *MARTS,
    *(view for view in FEATURES if view != CALENDAR),
    PREDICTIONS,
    *MONITORS,
)

FIRST, SECOND, BROKEN, NEXT = (f"2013-04-0{number}" for number in range(2, 6))


@pytest.fixture(scope="module")
def landed(
    parsed_home: Path, tmp_path_factory: pytest.TempPathFactory, definitions: dg.Definitions
) -> Iterator[Landing]:
    """The daemon is on, and two days have landed."""
    home = copied(parsed_home, tmp_path_factory.mktemp("landed") / "home")
    prepare(home, definitions)
    with landing(home, definitions) as opened:
        opened.switch_on()
        opened.start()
        for day in (FIRST, SECOND):
            opened.drop(day)
        opened.wait(lambda: all({FIRST, SECOND} <= opened.made(asset) for asset in MONITORS))
        opened.settle()
        yield opened


def counts(found: Landing) -> dict[str, Counter[str]]:
    return {asset: found.times_made(asset) for asset in FOLLOWED}


def more(before: dict[str, Counter[str]], now: dict[str, Counter[str]]) -> set[tuple[str, str]]:
    """What was made since: asset and day."""
    return {(asset, day) for asset in now for day in now[asset] - before[asset]}


@pytest.mark.timeout(1800)
def test_landed_days_are_followed_to_their_monitors_once(landed: Landing) -> None:
    for asset in FOLLOWED:
        assert {FIRST, SECOND} <= landed.made(asset), asset
        assert landed.repeated(asset, {FIRST, SECOND}) == 0, asset
    assert {started_by(run) for run in landed.runs()} >= {
        "arrivals",
        "flow_of_tables",
        "flow_of_data",
    }


@pytest.mark.timeout(1800)
def test_a_broken_file_stops_its_own_day_and_comes_late_touching_only_what_looks_back_on_it(
    landed: Landing,
) -> None:
    before = counts(landed)
    landed.drop(BROKEN, lambda table, text: text[:-200] if table == "flights" else text)
    landed.drop(NEXT)
    landed.wait(lambda: all(NEXT in landed.made(asset) for asset in MONITORS))
    landed.settle()

    flights = {FLIGHTS, "staging/stg_flights", FACTS}
    assert more(before, counts(landed)) == {
        *((asset, NEXT) for asset in FOLLOWED),
        # Readings are made of weather alone.
        *(
            (asset, BROKEN)
            for asset in ("raw/weather", "staging/stg_weather", "features/weather_now")
        ),
    }
    assert not any(BROKEN in landed.made(asset) for asset in flights)
    [failed] = [run for run in landed.runs() if run.status is dg.DagsterRunStatus.FAILURE]
    assert failed.tags["dagster/partition"] == BROKEN

    before = counts(landed)
    land(landed.area, "flights", BROKEN)
    landed.wait(lambda: all(BROKEN in landed.made(asset) for asset in MONITORS))
    landed.settle()

    made = more(before, counts(landed))
    weather = {"raw/weather", "staging/stg_weather", "features/weather_now"}
    assert {(asset, day) for asset, day in made if day == BROKEN} == {
        (asset, BROKEN) for asset in FOLLOWED if asset not in weather
    }
    late = {asset for asset, day in made if day == NEXT}
    assert {HISTORY, PREDICTIONS} <= late <= {*FEATURES, PREDICTIONS, *MONITORS}
    assert {day for _, day in made} == {BROKEN, NEXT}
    # Where a night is a minute, a reading can come a night after its flights, and move what was
    # made without it; nothing is made again for nothing.
    for asset in (*RAW, *MARTS, *FEATURES, PREDICTIONS):
        assert landed.repeated(asset, {BROKEN, NEXT}) == 0, asset
