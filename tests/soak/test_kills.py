"""SIGKILL at any moment leaves the base branch whole, and running again ends as if undisturbed."""

import random
import shutil
from pathlib import Path

import dagster as dg
import pytest
from installation import BUILT_DAYS, copied
from main_job import STEPS, MainJob, content, published
from small_source import small_source


def test_three_kills_tear_nothing_and_the_next_run_converges(
    built_home: Path, parsed_home: Path, tmp_path: Path
) -> None:
    job = MainJob(BUILT_DAYS[1])
    whole = content(copied(built_home, tmp_path / "undisturbed"))
    home = tmp_path / "home"
    shutil.copytree(parsed_home, home)
    for step in ("raw_flights", "marts", "features"):
        job.kill_in_step(home, step, random.uniform(0, 1))
        published(content(home), whole)
    job.finish(home)
    assert content(home) == whole


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_twenty_kills_tear_nothing_and_the_next_run_converges(
    definitions: dg.Definitions, parsed_home: Path, tmp_path: Path
) -> None:
    job = MainJob("2013-01-07", small_source(tmp_path / "source", days=7))
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(parsed_home, undisturbed)
    seconds = job.finish(undisturbed)
    whole = content(undisturbed)
    print(f"\nundisturbed: {seconds:.1f} s")
    print("kill  after s  steps published at the kill, and after running again")
    for number in range(1, 21):
        home = tmp_path / f"killed-{number}"
        struck = False
        while not struck:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(parsed_home, home)
            moment = random.uniform(0.05, 1) * seconds
            struck = job.kill_after(home, moment)
        there = published(content(home), whole)
        job.finish(home)
        assert content(home) == whole
        print(
            f"{number:>4} {moment:>8.2f}  {len(there)} of {len(STEPS)}"
            f" ({there[-1] if there else 'nothing'}), then all and the same"
        )
        shutil.rmtree(home)
