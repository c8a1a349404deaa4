"""What Dagster's record in Postgres holds open, and what it survives."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import dagster as dg
import pytest
from dagster_homes import TABLE_KEY, Homes, connected, run
from dagster_postgres.utils import get_conn_string
from patience import PATIENCE, becomes

from bench.postgres_server import PASSWORD, USER, PostgresServer
from mlops_assets.compute import postgres_connections
from mlops_assets.compute.postgres_connections import KEPT, MORE, with_driver
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.compute.postgres_storages import PooledPostgresRunStorage


def open_connections(server: PostgresServer) -> int:
    """How many connections others than this one have open."""
    with connected(server) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def materialized(record: dg.DagsterInstance, partition: str) -> None:
    record.report_runless_asset_event(dg.AssetMaterialization(TABLE_KEY, partition=partition))


def test_a_restarted_postgres_is_connected_to_anew(in_postgres: Homes) -> None:
    assert in_postgres.server is not None
    with in_postgres.opened("home", pooled=True) as record:
        materialized(record, "before")
        in_postgres.server.control("-m", "fast", "restart")
        materialized(record, "after")
        assert record.get_runs() == []
        assert record.get_materialized_partitions(TABLE_KEY) == {"before", "after"}


def test_a_forked_process_records_on_connections_of_its_own(in_postgres: Homes) -> None:
    with in_postgres.opened("home", pooled=True) as record:
        materialized(record, "before")
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                materialized(record, "child")
                os._exit(0)
            os._exit(1)
        materialized(record, "parent")
        assert os.waitpid(child, 0)[1] == 0
        materialized(record, "after")
        found = record.get_materialized_partitions(TABLE_KEY)
        assert found == {"before", "child", "parent", "after"}


def test_idle_connections_are_closed_and_work_goes_on(
    in_postgres: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = in_postgres.server
    assert server is not None
    assert becomes(lambda: open_connections(server) == 0)
    monkeypatch.setattr(postgres_connections, "IDLE_SECONDS", 0.2)
    with in_postgres.opened("home", pooled=True) as record:
        for partition in ("one", "two"):
            materialized(record, partition)
            assert becomes(lambda: open_connections(server) == 0)
        assert record.get_materialized_partitions(TABLE_KEY) == {"one", "two"}


def test_more_threads_than_connections_take_turns(in_postgres: Homes) -> None:
    server = in_postgres.server
    assert server is not None
    with in_postgres.opened("home", pooled=True) as record, ThreadPoolExecutor() as pool:
        log = record.event_log_storage
        assert isinstance(log, PooledPostgresEventLogStorage)
        before = open_connections(server)
        with ExitStack() as held:
            for _ in range(KEPT + MORE):
                held.enter_context(log.index_connection())
            later = [pool.submit(materialized, record, str(number)) for number in range(10)]
            assert open_connections(server) <= before + KEPT + MORE
            assert not any(one.done() for one in later)
        for one in later:
            one.result(PATIENCE)
        assert record.get_materialized_partitions(TABLE_KEY) == set(map(str, range(10)))


def test_a_run_leaves_no_connection_behind(in_postgres: Homes) -> None:
    server = in_postgres.server
    assert server is not None
    with in_postgres.opened("home", pooled=True) as record:
        run(record)
        assert open_connections(server) > 0
    assert becomes(lambda: open_connections(server) == 0)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u@h:1/d?options=-cx", "postgresql+psycopg2://u@h:1/d?options=-cx"),
        ("postgres://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_an_address_without_a_driver_gets_the_one_that_is_installed(given: str, used: str) -> None:
    assert with_driver(given) == used


def test_no_scheme_has_to_be_configured(postgres: PostgresServer) -> None:
    url = get_conn_string(USER, PASSWORD, "127.0.0.1", "postgres", str(postgres.port))
    storage = PooledPostgresRunStorage.from_config_value(None, {"postgres_url": url})
    assert storage.get_runs() == []
    storage.dispose()
