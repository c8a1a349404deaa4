"""SIGKILL of the main job at any moment tears nothing, and running again ends as if undisturbed."""

import random
import shutil
from pathlib import Path

import dagster as dg
import pytest
from installation import BUILT_DAYS, copied
from main_job import STEPS, TABLES, MainJob, published
from small_source import small_source
from verdict import judge


def test_three_kills_tear_nothing_and_the_next_run_converges(
    built_home: Path, parsed_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    job = MainJob(BUILT_DAYS[1])
    undisturbed = copied(built_home, tmp_path / "undisturbed")
    whole = judge(undisturbed, TABLES, definitions, doctor=False).content
    home = tmp_path / "home"
    shutil.copytree(parsed_home, home)
    for step in ("raw_flights", "marts", "features"):
        job.kill_in_step(home, step, random.uniform(0, 1))
        published(judge(home, TABLES, definitions, doctor=True).content, whole)
    job.finish(home)
    ended = judge(home, TABLES, definitions, doctor=False)
    assert (ended.content, ended.unrecorded) == (whole, 0)


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_thirty_kills_tear_nothing_and_the_next_run_converges(
    definitions: dg.Definitions, parsed_home: Path, tmp_path: Path
) -> None:
    job = MainJob("2013-01-07", small_source(tmp_path / "source", days=7))
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(parsed_home, undisturbed)
    seconds = job.finish(undisturbed)
    whole = judge(undisturbed, TABLES, definitions, doctor=False).content
    print(f"\nundisturbed: {seconds:.1f} s")
    print("kill  after s  steps published at the kill, partitions left to doctor")
    for number in range(1, 31):
        home = tmp_path / f"killed-{number}"
        struck = False
        while not struck:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(parsed_home, home)
            moment = random.uniform(0.05, 1) * seconds
            struck = job.kill_after(home, moment)
        found = judge(home, TABLES, definitions, doctor=bool(number % 2))
        there = published(found.content, whole)
        job.finish(home)
        ended = judge(home, TABLES, definitions, doctor=False)
        assert (ended.content, ended.unrecorded) == (whole, 0)
        print(
            f"{number:>4} {moment:>8.2f}  {len(there)} of {len(STEPS)}"
            f" ({there[-1] if there else 'nothing'}), {found.unrecorded}"
        )
        shutil.rmtree(home)
