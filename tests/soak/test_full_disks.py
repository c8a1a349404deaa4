"""A disk that fills at any point of a step: nothing torn, and with room the next run converges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest
from forked_workers import Workers
from installation import copied
from small_disk import fill, make_room, small_disk
from small_source import small_source
from verdict import judge

TABLES = ("raw/flights", "raw/flights_quarantine")
ASSETS = ("raw/flights",)
DAYS = ("2013-01-01", "2013-01-03")
STEP_BYTES = 1_250_000
"""A little more than the step writes: its files, the lake's log, Dagster's record, its scratch."""

ROOM = 8 << 20


def sweep(
    workers: Workers,
    empty_home: Path,
    definitions: dg.Definitions,
    folder: Path,
    frees: Sequence[int],
) -> Counter[str]:
    """Run a step with so many bytes free on the disk of its whole state; how each run ended."""
    source = small_source(folder / "source", days=3, every=4)
    undisturbed = copied(empty_home, folder / "undisturbed")
    assert workers.materialize(undisturbed, ASSETS, DAYS, source=source).answer()["error"] is None
    whole = judge(undisturbed, TABLES, definitions, doctor=False).content
    nothing = {table: {} for table in TABLES}
    held = sum(path.stat().st_blocks * 512 for path in empty_home.rglob("*"))
    ends: Counter[str] = Counter()
    for number, free in enumerate(frees):
        with small_disk(folder / f"disk-{number}", held + ROOM) as disk:
            home = copied(empty_home, disk / "home")
            fill(disk, free)
            worker = workers.materialize(home, ASSETS, DAYS, source=source)
            status = worker.wait()
            make_room(disk)
            found = judge(home, TABLES, definitions, doctor=bool(number % 2))
            assert found.content in (nothing, whole), f"torn with {free} bytes free"
            how = "published" if found.content == whole else "nothing shows"
            left = ", not recorded" if found.unrecorded else ""
            ends[f"{how}{left}"] += 1
            print(f"{free:>8} bytes free: {how}{left}, exit status {status}")
            again = workers.materialize(home, ASSETS, DAYS, source=source).answer()
            assert again["error"] is None, f"with {free} bytes free at first: {again}"
            converged = judge(home, TABLES, definitions, doctor=False)
            assert (converged.content, converged.unrecorded) == (whole, 0)
    return ends


def test_a_disk_that_fills_in_a_step_tears_nothing(
    workers: Workers, empty_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    sweep(workers, empty_home, definitions, tmp_path, [200_000, 900_000])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_disk_that_fills_at_any_write_tears_nothing(
    workers: Workers, empty_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    ends = sweep(
        workers,
        empty_home,
        definitions,
        tmp_path,
        [step * STEP_BYTES // 100 for step in range(101)],
    )
    print(dict(ends))
    assert ends["nothing shows"]
    assert ends["published"]
