"""What tests of several folders share: real definitions, a lake, and installations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import hypothesis
import pytest
from forked_workers import Workers
from installation import BUILT_DAYS, Installation, copied, installed, open_lake
from named_server import delete_repositories

from mlops_assets.components import dbt_manifest
from mlops_assets.lake import Lake
from mlops_assets.settings import ROOT, settings

# By default an example that takes 0.2 s fails its test, which on a busy machine any can.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_sessionfinish() -> None:
    """Leave nothing on a server that the tests did not start."""
    delete_repositories()


@pytest.fixture(scope="session")
def parsed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that holds dbt's parsed project, which costs seconds, and no data."""
    home = tmp_path_factory.mktemp("parsed")
    with configured(home):
        dbt_manifest.prepared(ROOT / "dbt_project")
    return home


@pytest.fixture(scope="session")
def definitions(parsed_home: Path) -> dg.Definitions:
    """The real definitions, loaded once."""
    with configured(parsed_home):
        from mlops_assets.definitions import defs

        return defs()


@contextmanager
def configured(home: Path) -> Iterator[None]:
    """Have this process's settings name a state directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(home))
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake on an embedded server of its own."""
    from mlops_assets.lakefs_server import EmbeddedServer

    with EmbeddedServer(tmp_path / "lakefs") as endpoint:
        yield open_lake(endpoint, tmp_path / "scratch")


@pytest.fixture
def installation(tmp_path: Path, definitions: dg.Definitions) -> Iterator[Installation]:
    """A fresh state directory."""
    with installed(tmp_path / "home", definitions) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory, definitions: dg.Definitions) -> Path:
    """A state directory with `BUILT_DAYS` from raw data to features; to be read or copied."""
    home = tmp_path_factory.mktemp("built") / "home"
    with installed(home, definitions) as built:
        built.build(BUILT_DAYS)
    return home


@pytest.fixture
def built(built_home: Path, tmp_path: Path, definitions: dg.Definitions) -> Iterator[Installation]:
    """A copy of `built_home`, the test's own to change."""
    with installed(copied(built_home, tmp_path / "built"), definitions) as copy:
        yield copy


@pytest.fixture(scope="session")
def empty_home(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory for `workers`, who put an empty lake and record there; to be copied."""
    return copied(parsed_home, tmp_path_factory.mktemp("empty") / "home")


@pytest.fixture(scope="session")
def workers(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Processes that are at work within milliseconds."""
    with Workers(empty_home, tmp_path_factory.mktemp("workers")) as loaded:
        yield loaded
