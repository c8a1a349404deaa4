"""Days that land while the daemon is on: everything follows without a hand, and exactly that."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from installation import FEATURES, MARTS, RAW, copied
from landed_days import Landing, deploy, landing, prepare, started_by
from landed_files import content_of

CALENDAR, PREDICTIONS = "features/calendar", "flight_delay/predictions"
HISTORY = "features/carrier_history"
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

FIRST, BROKEN, NEXT = (f"2013-04-0{number}" for number in (2, 3, 4))

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def landed(
    parsed_home: Path, tmp_path_factory: pytest.TempPathFactory, definitions: dg.Definitions
) -> Iterator[Landing]:
    """The daemon is on, and three days have landed, of which one has a broken file."""
    home = copied(parsed_home, tmp_path_factory.mktemp("landed") / "home")
    prepare(home, definitions)
    with landing(home, definitions) as opened:
        deploy(opened.installation)
        opened.switch_on(("arrivals", "flow_of_tables", "flow_of_data"))
        opened.start()
        for day in (FIRST, BROKEN, NEXT):
            opened.drop("weather", day)
            whole = content_of("flights", day)
            opened.drop("flights", day, whole[:-200] if day == BROKEN else whole)
        opened.pass_a_night()
        yield opened


def counts(found: Landing) -> dict[str, Counter[str]]:
    return {asset: found.times_made(asset) for asset in FOLLOWED}


def more(before: dict[str, Counter[str]], now: dict[str, Counter[str]]) -> set[tuple[str, str]]:
    """What was made since: asset and day."""
    return {(asset, day) for asset in now for day in now[asset] - before[asset]}


def test_landed_days_are_followed_to_their_monitors_once(landed: Landing) -> None:
    for asset in FOLLOWED:
        assert {FIRST, NEXT} <= landed.made(asset), asset
        assert landed.repeated(asset, {FIRST, NEXT}) == 0, asset
    assert {started_by(run) for run in landed.runs()} >= {
        "arrivals",
        "flow_of_tables",
        "flow_of_data",
    }


def test_a_broken_file_stops_its_own_day_and_comes_late_touching_only_what_looks_back_on_it(
    landed: Landing,
) -> None:
    # Readings are made of weather alone.
    weather = {"raw/weather", "staging/stg_weather", "features/weather_now"}
    assert {asset for asset in FOLLOWED if BROKEN in landed.made(asset)} == weather
    [failed] = [run for run in landed.runs() if run.status is dg.DagsterRunStatus.FAILURE]
    assert failed.tags["dagster/partition"] == BROKEN

    before = counts(landed)
    landed.drop("flights", BROKEN)
    landed.settle()

    made = more(before, counts(landed))
    assert {(asset, day) for asset, day in made if day == BROKEN} == {
        (asset, BROKEN) for asset in FOLLOWED if asset not in weather
    }
    late = {asset for asset, day in made if day == NEXT}
    assert {HISTORY, PREDICTIONS} <= late <= {*FEATURES, PREDICTIONS, *MONITORS}
    assert {day for _, day in made} == {BROKEN, NEXT}
    for asset in (*RAW, *MARTS, *FEATURES, PREDICTIONS):
        assert landed.repeated(asset, {BROKEN, NEXT}) == 0, asset
