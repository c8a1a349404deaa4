"""An isolated backfill is published whole or not at all, whichever database it is recorded in."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from backfilled import DAYS, FLIGHTS, SPAN, made, record
from command_line import Ended
from dagster_postgres.utils import get_conn_string
from installation import asset_key
from postgres_server import PASSWORD, USER, postgres

from mlops_assets.compute.postgres_connections import with_driver
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.compute.postgres_storages import (
    PooledPostgresRunStorage,
    PooledPostgresScheduleStorage,
)
from mlops_assets.lake import Lake

# Each starts the command, a daemon, its code server and a process for each run.
pytestmark = pytest.mark.timeout(900)

SECRET = {"PG_PASSWORD": PASSWORD}


def everything(lake: Lake) -> tuple[str, dict[str, tuple[str, str]]]:
    """The base branch to the byte: its head, and the server's answer for each of its objects."""
    branch = lake.repo().branch(lake.base_branch)
    objects = {
        found.path: (repr(found), sha256(branch.object(found.path).reader("rb").read()).hexdigest())
        for found in branch.objects()
    }
    return lake.head(), objects


def test_an_isolated_backfill_that_fails_leaves_the_base_branch_as_it_was_and_is_resumed(
    asked: Callable[..., tuple[Ended, Any]],
    published: Callable[..., None],
    bare_state: Path,
    broken: Path,
    source: Path,
    lake_of: Callable[[Path], Lake],
) -> None:
    published(FLIGHTS, DAYS[0], source=source)
    before = everything(lake_of(bare_state))

    ended, failed = asked(FLIGHTS, "--partitions", SPAN, "--isolated", source=broken)

    assert ended.code == 1
    assert [part["partitions"] for part in failed["failures"][0]["failed"]] == [[DAYS[-1]]]
    assert "main never saw it" in ended.err
    assert f"--resume {failed['backfill']}" in ended.err
    assert everything(lake_of(bare_state)) == before
    with record(bare_state) as instance:
        assert len(made(instance)) == 1
    with record(bare_state, failed["branch"]) as instance:
        assert made(instance) == [set(DAYS[:-1])]

    ended, resumed = asked("--resume", failed["backfill"], source=source)

    assert ended.code == 0, ended.err
    assert (resumed["partitions_made"], resumed["runs"]) == (1, 1)
    assert resumed["merged"]["commit"] == lake_of(bare_state).head()
    assert not (bare_state / "branches").exists()
    with record(bare_state) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)
        assert len(instance.get_runs()) == 1
    head, objects = everything(lake_of(bare_state))
    assert head != before[0]
    assert len({path.split("/")[2] for path in objects if path.startswith("raw/flights/")}) == 4


@pytest.fixture
def in_postgres(bare_state: Path) -> Iterator[sqlalchemy.Engine]:
    """The base branch's instance in a Postgres, as a cluster's is."""
    with postgres() as port:
        database = {
            "username": USER,
            "password": {"env": "PG_PASSWORD"},
            "hostname": "127.0.0.1",
            "port": port,
            "db_name": "postgres",
        }
        storages = {
            "run_storage": PooledPostgresRunStorage,
            "schedule_storage": PooledPostgresScheduleStorage,
            "event_log_storage": PooledPostgresEventLogStorage,
        }
        (bare_state / "dagster").mkdir()
        configured = {
            **{
                name: {
                    "module": storage.__module__,
                    "class": storage.__name__,
                    "config": {"postgres_db": database},
                }
                for name, storage in storages.items()
            },
            "telemetry": {"enabled": False},
            "concurrency": {"runs": {"max_concurrent_runs": 1}},
        }
        (bare_state / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(configured))
        url = with_driver(get_conn_string(**{**database, "password": PASSWORD}))
        yield sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)


def test_where_the_instance_is_a_postgres_an_isolated_backfill_records_in_a_schema_of_its_own(
    asked: Callable[..., tuple[Ended, Any]],
    bare_state: Path,
    broken: Path,
    source: Path,
    in_postgres: sqlalchemy.Engine,
) -> None:
    _, failed = asked(FLIGHTS, "--partitions", SPAN, "--isolated", source=broken, **SECRET)

    assert failed.get("partitions_made") == 3, failed
    branch = f"branch_{failed['branch']}"
    assert branch in sqlalchemy.inspect(in_postgres).get_schema_names()
    assert "runs" in sqlalchemy.inspect(in_postgres).get_table_names(branch)
    assert (
        "a secret"
        not in (bare_state / "branches" / failed["branch"] / "dagster" / "dagster.yaml").read_text()
    )
    with record(bare_state, **SECRET) as instance:
        assert instance.get_runs() == []
        assert instance.get_backfills() == []
        assert instance.get_materialized_partitions(asset_key(FLIGHTS)) == set()

    ended, _ = asked("--resume", failed["backfill"], source=source, **SECRET)

    assert ended.code == 0, ended.err
    assert branch not in sqlalchemy.inspect(in_postgres).get_schema_names()
    with record(bare_state, **SECRET) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)
