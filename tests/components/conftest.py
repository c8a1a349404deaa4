"""A small problem over an empty lake, shared by the tests of what problems become."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from toy_problem import Toy

from mlops_assets.lake import Lake
from mlops_assets.settings import settings


@pytest.fixture
def toy(
    lake: Lake, tmp_path: Path, parsed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Toy]:
    monkeypatch.setenv("MLOPS_HOME", str(parsed_home))
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Toy(lake, tmp_path / "made-up", instance)
    settings.cache_clear()
