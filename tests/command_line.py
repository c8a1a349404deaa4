"""The command as a user runs it: its environment, and what it leaves."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import named_server

from mlops_assets.settings import settings

DAYS = ("2013-01-01", "2013-01-02")
COMMAND = [sys.executable, "-c", "from mlops_assets.cli import main; main()"]
OURS = ("MLOPS_", "LAKE", "MLFLOW_", "DAGSTER_HOME", "MPLCONFIGDIR", "XDG_")


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


def environment(**variables: str | Path) -> dict[str, str]:
    """The environment of a user who has configured nothing but `variables`, and a named server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    server = named_server.variables(variables.get("MLOPS_HOME"))
    return inherited | server | {name: str(value) for name, value in variables.items()}


@dataclass(frozen=True)
class State:
    """A state directory, and the command that made it."""

    home: Path
    user_home: Path
    run: Ended


@contextlib.contextmanager
def configured(**variables: str | Path) -> Iterator[None]:
    """This process under another configuration."""
    before = dict(os.environ)
    # Before the variables go that name it.
    server = named_server.variables(variables.get("MLOPS_HOME"))
    os.environ.clear()
    os.environ.update(server | environment(**variables))
    settings.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()
