"""Two real days of flights, run once by the command for every test of this folder."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import traced_lake
from command_line import COMMAND, DAYS, Ended, State, configured, environment
from installation import copied, installed, reading
from named_server import named_server, variables
from small_source import Row, small_source
from traced_lake import with_problem

from mlops_assets.cli.program import exit_code
from mlops_assets.defs.resources import find_lake
from mlops_assets.lake import Lake
from mlops_assets.settings import settings


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of CSV files with the first days of the real data."""
    return small_source(tmp_path_factory.mktemp("source") / "csv")


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
def own_state(state: State, source: Path, tmp_path: Path) -> Path:
    """A copy of that state, for a test to spoil; made anew where its lake is on a named server."""
    if named_server() is None:
        return Path(shutil.copytree(state.home, tmp_path / "state"))
    home = tmp_path / "state"
    shutil.copytree(state.home / "dbt", home / "dbt")
    with configured(MLOPS_HOME=home, MLOPS_SOURCE=source):
        assert exit_code(("run", "--days", "..".join(DAYS))) == 0
    return home


@pytest.fixture
def bare_state(state: State, tmp_path: Path) -> Path:
    """A state directory that holds the parsed dbt project, which takes seconds, and no lake."""
    shutil.copytree(state.home / "dbt", tmp_path / "bare" / "dbt")
    return tmp_path / "bare"


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
def lake_of() -> Callable[..., Lake]:
    """The lake of a state directory, or of the server that the environment names."""

    def lake(home: Path, **environment: str) -> Lake:
        with configured(MLOPS_HOME=home, **environment):
            return find_lake(settings())

    return lake


@pytest.fixture(scope="session")
def traced(
    tmp_path_factory: pytest.TempPathFactory, parsed_home: Path, definitions: dg.Definitions
) -> Path:
    """A folder with a state directory of every kind of result, `home`, and its `source`."""
    folder = tmp_path_factory.mktemp("traced")
    home = copied(parsed_home, folder / "home")
    traced_lake.build(home, folder / "source", with_problem(definitions))
    return folder


@pytest.fixture
def ask(
    command: Callable[..., Ended],
    traced: Path,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ended]:
    """Runs the command over that state directory, the problem declared as the test wants it."""

    def run(*arguments: str, source: Path | None = None, **declared: object) -> Ended:
        found = with_problem(definitions, **declared)
        monkeypatch.setattr("mlops_assets.definitions.defs", lambda: found)
        places = {"MLOPS_HOME": traced / "home", "MLOPS_SOURCE": source or traced / "source"}
        return command(*arguments, **places)

    return run


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A source whose last day breaks its contract."""

    def spoil(row: Row) -> None:
        if row["day"] == "4":
            row["origin"] = "SFO"

    return small_source(tmp_path / "broken", spoil)


@pytest.fixture
def asked(
    command: Callable[..., Ended],
    bare_state: Path,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[Ended, Any]]:
    """Runs the command over an empty state directory; what it printed and its document."""
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: definitions)

    def run(*arguments: str, source: Path, **variables: str) -> tuple[Ended, Any]:
        places = {"MLOPS_HOME": bare_state, "MLOPS_SOURCE": source}
        ended = command("backfill", *arguments, "--json", **places, **variables)
        return ended, json.loads(ended.out)

    return run


@pytest.fixture
def published(bare_state: Path, definitions: dg.Definitions) -> Callable[..., None]:
    """Materializes something there in this process, to be there before the command is asked."""

    def run(asset: str, partition: str | None = None, *, source: Path) -> None:
        server = variables(bare_state)
        with reading(source), installed(bare_state, definitions, **server) as before:
            assert before.materialize([asset], partition).success

    return run
