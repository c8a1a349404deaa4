"""Days land while the daemon is killed and started again: the same is made, none twice."""

import random
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from installation import FEATURES, MARTS, RAW, copied
from landed_days import Landing, deploy, landing, prepare

from mlops_assets.sources.storage import REST_SECONDS

PREDICTIONS = "flight_delay/predictions"
FOLLOWED = (*RAW, *MARTS, *FEATURES, PREDICTIONS)
FIRST = date(2013, 4, 2)
DAYS = 30
KILLS = 20

Contents = dict[str, dict[str, str]]


def contents(found: Landing, days: set[str]) -> Contents:
    """What the landed days hold: asset, partition, data version."""
    return {
        asset: {
            path: version
            for path, version in found.versions(asset).items()
            if path.removeprefix("day=") in days
        }
        for asset in FOLLOWED
    }


def drop(found: Landing, day: str) -> None:
    for table in RAW:
        found.drop(table.removeprefix("raw/"), day)


def land(found: Landing, days: list[str]) -> None:
    """Land days one by one, and kill the daemon after some of them."""
    draw = random.Random(2013)
    struck = set(draw.sample(range(len(days)), KILLS))
    found.switch_on()
    found.start()
    for place, day in enumerate(days):
        drop(found, day)
        time.sleep(draw.uniform(1, 12))
        if place in struck:
            found.kill()
            time.sleep(draw.uniform(0, 3))
            found.start()
    found.wait(lambda: set(days) <= found.made(PREDICTIONS))
    found.settle()


def built(home: Path, definitions: dg.Definitions, days: list[str]) -> Contents:
    """What the same files give where nothing is killed, nor anything else goes on."""
    with landing(home, definitions) as found, found.reading():
        for day in days:
            drop(found, day)
        # A file that was written a moment ago counts as being written.
        time.sleep(2 * REST_SECONDS)
        span = (days[0], days[-1])
        made = found.installation
        assert made.materialize((*RAW, *MARTS), span).success
        assert made.materialize(FEATURES, span).success
        deploy(made)
        assert made.materialize([PREDICTIONS], span).success
        return contents(found, set(days))


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_twenty_kills_of_the_daemon_while_thirty_days_land_leave_what_no_kill_leaves(
    parsed_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(DAYS)]
    prepared = copied(parsed_home, tmp_path / "prepared" / "home")
    prepare(prepared, definitions)
    undisturbed = copied(prepared, tmp_path / "undisturbed" / "home")
    killed = copied(prepared, tmp_path / "killed" / "home")
    began = time.monotonic()

    with landing(killed, definitions, prompt=False) as found:
        land(found, days)
        left = contents(found, set(days))
        statuses = Counter(run.status.value for run in found.runs())
        again = {asset: found.repeated(asset, days) for asset in FOLLOWED}
    print(
        f"\n{KILLS} kills while {DAYS} days landed, {time.monotonic() - began:.0f} s; runs "
        f"{dict(statuses)}; partitions made again with the same content: "
        f"{ {asset: times for asset, times in again.items() if times} or 'none' }"
    )

    assert all(len(left[asset]) == DAYS for asset in FOLLOWED)
    assert left == built(undisturbed, definitions, days)
    assert not any(again[asset] for asset in (*RAW, *MARTS))
