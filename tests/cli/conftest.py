"""The command itself, on two real days of flights, run once for every test of this folder."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops_assets.cli.program import exit_code
from mlops_assets.defs.raw.sources import bundled_directory
from mlops_assets.defs.resources import find_lake
from mlops_assets.lake import Lake
from mlops_assets.settings import settings

DAYS = ("2013-01-01", "2013-01-02")
COMMAND = [sys.executable, "-c", "from mlops_assets.cli import main; main()"]
OURS = ("MLOPS_", "LAKE", "DAGSTER_HOME", "MPLCONFIGDIR", "XDG_")


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def environment(**variables: str | Path) -> dict[str, str]:
    """The environment of a user who has configured nothing but `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return inherited | {name: str(value) for name, value in variables.items()}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of CSV files: two days of flights and weather, the other tables whole."""
    folder, bundled = tmp_path_factory.mktemp("source"), bundled_directory()
    for name in ("planes", "airports", "airlines"):
        shutil.copy(bundled / f"{name}.csv", folder)
    with zipfile.ZipFile(bundled / "flights.csv.zip") as archive:
        flights = archive.read("flights.csv").decode()
    for name, text in (
        ("flights", flights),
        ("weather", (bundled / "weather.csv").read_text()),
    ):
        header, *rows = csv.reader(io.StringIO(text))
        at = [header.index(column) for column in ("year", "month", "day")]
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            wanted = [
                row
                for row in rows
                if [row[i] for i in at] in (["2013", "1", "1"], ["2013", "1", "2"])
            ]
            csv.writer(stream, lineterminator="\n").writerows([header, *wanted])
    return folder


@dataclass(frozen=True)
class State:
    """A state directory, and the command that made it."""

    home: Path
    user_home: Path
    run: Ended


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory, source: Path) -> State:
    """What `mlops-assets run` on the two days leaves; for tests that change nothing in it."""
    home, user_home = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("user")
    ended = subprocess.run(
        [*COMMAND, "run", "--json", "--days", "..".join(DAYS)],
        env=environment(MLOPS_HOME=home, MLOPS_SOURCE=source, HOME=user_home),
        check=False,
        capture_output=True,
        text=True,
    )
    return State(home, user_home, Ended(ended.returncode, ended.stdout, ended.stderr))


@pytest.fixture
def own_state(state: State, tmp_path: Path) -> Path:
    """A copy of that state, for a test to spoil."""
    return Path(shutil.copytree(state.home, tmp_path / "state"))


@contextlib.contextmanager
def configured(**variables: str | Path) -> Iterator[None]:
    """This process under another configuration."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(**variables))
    settings.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command in this process, which has loaded the libraries already."""

    def run(*arguments: str, **variables: str | Path) -> Ended:
        capsys.readouterr()
        with configured(**variables):
            code = exit_code(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


@pytest.fixture
def lake_of() -> Callable[[Path], Lake]:
    """The lake of a state directory."""

    def lake(home: Path) -> Lake:
        with configured(MLOPS_HOME=home):
            return find_lake(settings())

    return lake
