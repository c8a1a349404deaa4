"""Every model and report of a year again, byte for byte, and one of them from the raw files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.settings import ROOT

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from mlops_assets.cli import main; main(sys.argv[1:])",
]
MONTHS = [f"2013-{month:02}" for month in range(4, 13)]
ORIGINS = ["EWR", "JFK", "LGA"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def command(folder: Path, *arguments: str, threads: int | None = None) -> Any:
    """What the command says as JSON, started in another folder than the repository's."""
    variables = {"MLOPS_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    if threads:
        variables["OMP_NUM_THREADS"] = str(threads)
    ended = subprocess.run(
        [*COMMAND, *arguments, "--json"],
        cwd=folder,
        env={**os.environ, **variables},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a state directory of all models; the base branch moves on after the first."""
    folder = tmp_path_factory.mktemp("year")
    command(folder, "run", "--month", f"{MONTHS[0]}..{MONTHS[-1]}")
    command(folder, "champion", "flight_delay.EWR", "--promote", MONTHS[0])
    return folder


def test_every_model_passes_every_gate_and_is_promoted_or_kept(year: Path) -> None:
    decided = [command(year, "champion", f"flight_delay.{origin}") for origin in ORIGINS]
    decisions = [decision for champion in decided for decision in champion["decisions"].values()]
    assert len(decisions) == len(MONTHS) * len(ORIGINS)
    assert all(gate["passed"] for decision in decisions for gate in decision["gates"])
    assert {decision["outcome"] for decision in decisions} == {"promoted", "kept"}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kind", ["model", "evaluation_report"])
def test_all_of_a_kind_are_made_again_byte_for_byte(year: Path, kind: str, threads: int) -> None:
    name = f"flight_delay/{kind}:{MONTHS[0]}|{ORIGINS[0]}"
    commit = command(year, "lineage", name)["commit"]
    found = command(year, "reproduce", commit, threads=threads)
    assert found["identical"]
    assert len(found["results"]) == len(MONTHS) * len(ORIGINS)


def test_a_champion_is_made_again_from_the_raw_files(year: Path) -> None:
    found = command(year, "reproduce", "flight_delay.JFK@champion", "--deep")
    assert found["identical"]
