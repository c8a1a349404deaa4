"""Days land while the daemon is killed and started again: the same is made, none twice."""

import random
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from installation import FEATURES, MARTS, RAW, copied
from landed_days import Landing, landing, prepare

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


def land(home: Path, definitions: dg.Definitions, days: list[str], kills: int) -> Contents:
    """Land days one by one; returns what is there in the end, and prints how it went."""
    draw = random.Random(2013)
    struck = set(draw.sample(range(len(days)), kills))
    began = time.monotonic()
    with landing(home, definitions) as found:
        found.switch_on()
        found.start()
        for place, day in enumerate(days):
            found.drop(day)
            time.sleep(draw.uniform(1, 12))
            if place in struck:
                found.kill()
                time.sleep(draw.uniform(0, 3))
                found.start()
        found.wait(lambda: set(days) <= found.made(PREDICTIONS))
        found.settle()
        statuses = Counter(run.status.value for run in found.runs())
        again = {asset: found.repeated(asset, days) for asset in FOLLOWED}
        print(
            f"\n{kills} kills: {len(days)} days in {time.monotonic() - began:.0f} s; runs "
            f"{dict(statuses)}; partitions made again with the same content "
            f"{ {asset: times for asset, times in again.items() if times} }"
        )
        assert not any(again[asset] for asset in (*RAW, *MARTS))
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

    expected = land(undisturbed, definitions, days, kills=0)

    assert all(len(expected[asset]) == DAYS for asset in FOLLOWED)
    assert land(killed, definitions, days, kills=KILLS) == expected
