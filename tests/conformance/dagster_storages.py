"""Dagster's own tests of storages, told of its storages and of ours: run by its neighbour.

They lie in Dagster's source distribution, not in what is installed of it.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import dagster as dg
import pytest
from dagster._utils.test.schedule_storage import TestScheduleStorage
from dagster_homes import Homes

from bench.postgres_server import PostgresServer


def dagster_run(
    job_name: str = "test-job", run_id: object = None, **given: object
) -> dg.DagsterRun:
    """A run: all that the suites take from a package of Dagster that is not published."""
    return dg.DagsterRun(job_name=job_name, run_id=str(run_id or uuid4()), **given)


for name in ("dagster_test", "dagster_test.utils", "dagster_test.utils.data_factory"):
    sys.modules[name] = ModuleType(name)
sys.modules[name].dagster_run = dagster_run

from dagster_tests.storage_tests.utils.event_log_storage import TestEventLogStorage  # noqa: E402
from dagster_tests.storage_tests.utils.run_storage import TestRunStorage  # noqa: E402


class InSqlite:
    """Has a suite's storages record in SQLite."""

    pooled = False

    @pytest.fixture(name="instance")
    def instance(self, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
        configured = self.homes(tmp_path).configuration("home", pooled=self.pooled)
        with dg.instance_for_test(temp_dir=str(tmp_path / "home"), overrides=configured) as found:
            assert type(found.event_log_storage) is self.homes(tmp_path).storage(pooled=self.pooled)
            yield found

    def homes(self, folder: Path) -> Homes:
        return Homes(folder)

    # What Dagster declares of its storages beside its tests of each.
    def can_wipe_asset_partitions(self) -> bool:
        return False

    def supports_multiple_event_type_queries(self) -> bool:
        return False


class InPostgres(InSqlite):
    """Has a suite's storages record in the Postgres at the port that the environment names."""

    def homes(self, folder: Path) -> Homes:
        server = PostgresServer(int(os.environ["POSTGRES_PORT"]), Path(), Path(), {})
        return Homes(folder, server)

    def supports_multiple_event_type_queries(self) -> bool:
        return True

    def supports_backfill_tags_filtering_queries(self) -> bool:
        return True

    def supports_backfill_job_name_filtering_queries(self) -> bool:
        return True

    def supports_backfill_id_filtering_queries(self) -> bool:
        return True

    def supports_backfills_count(self) -> bool:
        return True


class Events(TestEventLogStorage):
    __test__ = False

    @pytest.fixture
    def storage(self, instance: dg.DagsterInstance) -> object:
        return instance.event_log_storage


class Runs(TestRunStorage):
    __test__ = False

    @pytest.fixture
    def storage(self, instance: dg.DagsterInstance) -> object:
        return instance.run_storage


class Schedules(TestScheduleStorage):
    __test__ = False

    @pytest.fixture
    def storage(self, instance: dg.DagsterInstance) -> object:
        return instance.schedule_storage


class TestStockEventsInSqlite(InSqlite, Events):
    __test__ = True


class TestPooledEventsInSqlite(TestStockEventsInSqlite):
    pooled = True


class TestStockEventsInPostgres(InPostgres, Events):
    __test__ = True


class TestPooledEventsInPostgres(TestStockEventsInPostgres):
    pooled = True


class TestStockRunsInPostgres(InPostgres, Runs):
    __test__ = True


class TestPooledRunsInPostgres(TestStockRunsInPostgres):
    pooled = True


class TestStockSchedulesInPostgres(InPostgres, Schedules):
    __test__ = True


class TestPooledSchedulesInPostgres(TestStockSchedulesInPostgres):
    pooled = True
