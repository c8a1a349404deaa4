"""Dagster's record on its own storages and on ours, over one database or the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import yaml
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster_postgres import PostgresEventLogStorage
from postgres_server import PASSWORD, USER

from bench.postgres_server import PostgresServer
from mlops_assets.compute.event_log import PooledSqliteEventLogStorage
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.compute.postgres_storages import (
    PooledPostgresRunStorage,
    PooledPostgresScheduleStorage,
)

TABLE_KEY = dg.AssetKey("table")
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-06")


def named(kind: type) -> tuple[str, str]:
    """What `dagster.yaml` names a class by."""
    return kind.__module__, kind.__name__


@dataclass(frozen=True)
class Homes:
    """Records of Dagster in one kind of database, each by its name.

    Attributes:
        folder: Where the homes are made.
        server: The Postgres that they record in; None for SQLite.
    """

    folder: Path
    server: PostgresServer | None = None

    def storage(self, *, pooled: bool) -> type[SqlEventLogStorage]:
        """The class of the event log."""
        if self.server is None:
            return PooledSqliteEventLogStorage if pooled else SqliteEventLogStorage
        return PooledPostgresEventLogStorage if pooled else PostgresEventLogStorage

    @contextmanager
    def opened(self, name: str, *, pooled: bool) -> Iterator[dg.DagsterInstance]:
        """A record, made if there is none of that name, through our storages or Dagster's."""
        configured = self.configuration(name, pooled=pooled)
        (self.folder / name / "dagster.yaml").write_text(yaml.safe_dump(configured))
        with dg.DagsterInstance.from_config(str(self.folder / name)) as record:
            assert type(record.event_log_storage) is self.storage(pooled=pooled)
            yield record

    def configuration(self, name: str, *, pooled: bool) -> dict[str, Any]:
        """The `dagster.yaml` of a record, whose home is made if there is none of that name."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        configured: dict[str, Any] = {"telemetry": {"enabled": False}}
        if self.server is not None:
            configured |= self._in_postgres(self.server, name, pooled=pooled)
        elif pooled:
            module, kind = named(PooledSqliteEventLogStorage)
            storage = {"module": module, "class": kind, "config": {"dagster_home": str(home)}}
            configured["event_log_storage"] = storage
        return configured

    def _in_postgres(self, server: PostgresServer, name: str, *, pooled: bool) -> dict[str, Any]:
        schema = f"home_{sha256(str(self.folder / name).encode()).hexdigest()[:16]}"
        with connected(server) as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        kinds = {
            f"{storage}_storage": ("dagster_postgres", f"Postgres{kind}Storage")
            for storage, kind in (
                ("run", "Run"),
                ("schedule", "Schedule"),
                ("event_log", "EventLog"),
            )
        }
        if pooled:
            kinds = {
                "run_storage": named(PooledPostgresRunStorage),
                "schedule_storage": named(PooledPostgresScheduleStorage),
                "event_log_storage": named(PooledPostgresEventLogStorage),
            }
        return server.storages(kinds, {"options": f"-csearch_path={schema}"})


@contextmanager
def connected(server: PostgresServer) -> Iterator[Any]:
    """A cursor of a connection that commits each statement."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=server.port, user=USER, password=PASSWORD, dbname="postgres"
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@dg.multi_asset(
    specs=[dg.AssetSpec("table"), dg.AssetSpec("view", deps=["table"])],
    check_specs=[dg.AssetCheckSpec(name, asset="table") for name in ("holds", "breaks")],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def tables(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """Two assets with checks, one of which fails, observations and lines of the log."""
    context.log.info("a line of the log, with an umlaut: ü")
    yield dg.AssetObservation("table", partition=context.partition_keys[0], tags={"why": "seen"})
    for name, passed in (("holds", True), ("breaks", False)):
        yield dg.AssetCheckResult(check_name=name, asset_key="table", passed=passed)
    yield dg.MaterializeResult("table", data_version=dg.DataVersion("one"), metadata={"rows": 7})
    yield dg.MaterializeResult("view")


@dg.asset(deps=["table"])
def broken() -> None:
    """An asset that is planned and never made."""
    raise RuntimeError("this one fails")


def run(record: dg.DagsterInstance) -> str:
    """Materialize all days of the assets in one run, which ends in a failure; its id."""
    days = DAYS.get_partition_keys()
    ended = dg.materialize(
        [tables, broken],
        instance=record,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        },
    )
    assert not ended.success
    return ended.run_id
