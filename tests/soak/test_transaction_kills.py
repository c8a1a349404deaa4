"""SIGKILL in every phase of a transaction: nothing torn, nothing lost, nothing left unrecorded."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from forked_workers import Workers
from phases import Phase
from transaction_kills import AIMED_AT, Range


def test_kills_around_the_merge_tear_nothing_and_the_next_run_converges(
    workers: Workers, empty_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    aims = [phase for phase in AIMED_AT if phase >= Phase.UPLOADED]
    shot = Range(workers, empty_home, tmp_path, definitions, workloads=1).shoot(6, aims)
    assert shot.hits.total() == 6


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_five_hundred_kills_over_every_phase_tear_nothing(
    workers: Workers, empty_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    shot = Range(workers, empty_home, tmp_path, definitions, workloads=3).shoot(500, AIMED_AT)
    print("", *shot.lines(), sep="\n")
    assert all(shot.hits[phase] for phase in AIMED_AT)
