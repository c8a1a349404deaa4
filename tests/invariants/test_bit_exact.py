"""The same pins give the same bytes, however the work is cut and wherever the lake is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from installation import BUILT_DAYS, DAILY, WHOLE, Installation, copied, installed

from mlops_assets.components import dbt_build
from mlops_assets.lake import Manifest, Partition
from mlops_assets.lakefs_server import Endpoint

SERVER = """
import sys
from pathlib import Path
from typing import Any
from mlops_assets.lakefs_server import EmbeddedServer

with EmbeddedServer(Path(sys.argv[1]), pre_sign=True) as endpoint:
    print(*endpoint, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def expected(
    built_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> dict[str, dict[Partition, Manifest]]:
    """What a range of days gave on the embedded server, with as many threads as there are."""
    with installed(copied(built_home, tmp_path / "range"), definitions) as built:
        return built.manifests()


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Leave each dbt build one DuckDB thread; the list names the databases that had one."""
    profile, databases = dbt_build.profile, []

    def with_one_thread(project: Path, database: Path) -> dict[str, Any]:
        found = profile(project, database)
        for content in found.values():
            content["outputs"][content["target"]]["settings"]["threads"] = 1
        databases.append(database)
        return found

    monkeypatch.setattr(dbt_build, "profile", with_one_thread)
    return databases


def test_days_built_one_by_one_on_one_thread_equal_a_range_on_many(
    installation: Installation,
    expected: dict[str, dict[Partition, Manifest]],
    one_thread: list[Path],
) -> None:
    days = ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert installation.materialize(WHOLE).success
    for day in days:
        assert installation.materialize(DAILY, day).success
    assert len(one_thread) == 2 * len(days)
    kept = {Partition(), *(Partition.of({"day": day}) for day in days)}
    assert installation.manifests() == {
        table: {part: manifest for part, manifest in parts.items() if part in kept}
        for table, parts in expected.items()
    }


def test_a_server_in_another_process_with_signed_links_gives_the_same(
    parsed_home: Path,
    definitions: dg.Definitions,
    expected: dict[str, dict[Partition, Manifest]],
    tmp_path: Path,
) -> None:
    with server_process(tmp_path / "elsewhere") as endpoint:
        environment = {
            "LAKECTL_SERVER_ENDPOINT_URL": endpoint.url,
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": endpoint.access_key_id,
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": endpoint.secret_access_key,
        }
        home = copied(parsed_home, tmp_path / "home")
        with installed(home, definitions, **environment) as remote:
            assert remote.lake.pre_signed
            remote.build(BUILT_DAYS)
            assert remote.manifests() == expected
            assert not (home / "lakefs").exists()


@contextmanager
def server_process(store: Path) -> Iterator[Endpoint]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield Endpoint(*process.stdout.readline().split())
        process.communicate()
        assert process.returncode == 0
