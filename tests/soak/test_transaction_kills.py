"""SIGKILL in every phase of a transaction: nothing torn, nothing lost, nothing left unrecorded."""

from pathlib import Path

import dagster as dg
import pytest
from forked_workers import Workers
from transaction_kills import AIMED_AT, Range, Tally


@pytest.fixture
def shooting_range(
    workers: Workers, empty_home: Path, tmp_path: Path, definitions: dg.Definitions
) -> Range:
    return Range(workers, empty_home, tmp_path, definitions)


def test_ten_kills_tear_nothing_and_the_next_run_converges(shooting_range: Range) -> None:
    tally = Tally()
    shooting_range.shoot(10, tally)
    assert tally.hits.total() == 10


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_five_hundred_kills_over_every_phase_tear_nothing(shooting_range: Range) -> None:
    tally = Tally()
    shooting_range.shoot(500, tally)
    print("", *tally.lines(), sep="\n")
    assert all(tally.hits[phase] for phase in AIMED_AT)
