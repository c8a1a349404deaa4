"""Backfills as a user runs them: through Dagster's instance, with its queue and run processes."""

import json
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import sqlalchemy
import yaml
from command_line import COMMAND, Ended, configured, environment
from dagster_postgres.utils import get_conn_string
from installation import asset_key
from postgres_server import PASSWORD, USER, postgres
from small_source import Row, small_source

from mlops_assets.cli import backfill_record
from mlops_assets.cli.backfill_daemon import alive
from mlops_assets.cli.backfill_plan import targets
from mlops_assets.cli.record import opened_record
from mlops_assets.components import backfills
from mlops_assets.compute.postgres_connections import with_driver
from mlops_assets.compute.postgres_event_log import PooledPostgresEventLogStorage
from mlops_assets.compute.postgres_storages import (
    PooledPostgresRunStorage,
    PooledPostgresScheduleStorage,
)
from mlops_assets.lake import Lake
from mlops_assets.settings import settings

# Each starts the command, a daemon, its code server and a process for each run.
pytestmark = pytest.mark.timeout(900)

FLIGHTS = "raw/flights"
DAYS = [f"2013-01-0{day}" for day in (1, 2, 3, 4)]
SECRET = {"PG_PASSWORD": PASSWORD}
SPAN = f"{DAYS[0]}..{DAYS[-1]}"


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


@contextmanager
def record(home: Path, branch: str = "main", **variables: str) -> Iterator[dg.DagsterInstance]:
    with (
        configured(MLOPS_HOME=home, LAKEFS_BRANCH=branch, **variables),
        opened_record(settings()) as instance,
    ):
        yield instance


def made(instance: dg.DagsterInstance, asset: str = FLIGHTS) -> list[set[str]]:
    """The partitions that each run materialized, oldest first."""
    return [
        {
            str(entry.dagster_event.partition)
            for entry in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if entry.dagster_event and entry.dagster_event.asset_key == asset_key(asset)
        }
        for run in instance.get_runs(ascending=True)
    ]


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
    bare_state: Path,
    broken: Path,
    source: Path,
    lake_of: Callable[[Path], Lake],
) -> None:
    assert asked(FLIGHTS, "--partitions", DAYS[0], source=source)[0].code == 0
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


def test_a_backfill_publishes_what_passes_and_makes_the_rest_when_it_is_resumed(
    asked: Callable[..., tuple[Ended, Any]], bare_state: Path, broken: Path, source: Path
) -> None:
    assert asked("raw/airports", source=source)[0].code == 0
    selection = ("raw/flights+", "--partitions", SPAN, "--tag", "why=testing")
    ended, failed = asked(*selection, source=broken)

    assert ended.code == 1
    [failure] = failed["failures"]
    assert failure["failed"] == [{"asset": FLIGHTS, "partitions": [DAYS[-1]]}]
    assert f"{FLIGHTS} {DAYS[-1]} failed: " in ended.err
    assert "914" in failure["reason"] or "break the contract" in failure["reason"]
    assert failed["not_run"] == [{"asset": "staging/stg_flights", "partitions": [SPAN]}]
    with record(bare_state) as instance:
        assert made(instance) == [set(), set(DAYS[:-1])]
        assert instance.get_runs()[0].tags["why"] == "testing"
        stored = instance.get_backfill(failed["backfill"])
        assert stored.tags == {"why": "testing"}
        subset = stored.asset_backfill_data.failed_and_downstream_subset
        key = asset_key(FLIGHTS)
        assert set(subset.get_partitions_subset(key).get_partition_keys()) == {DAYS[-1]}

    ended, resumed = asked("--resume", failed["backfill"], source=source)

    assert ended.code == 0, ended.err
    assert resumed["partitions_made"] == resumed["partitions"] == 1 + len(DAYS)
    with record(bare_state) as instance:
        assert made(instance)[2] == {DAYS[-1]}
        staged = [part for part in made(instance, "staging/stg_flights") if part]
        assert set().union(*staged) == set(DAYS)

    ended, nothing = asked("--resume", failed["backfill"], source=source)
    assert ended.code == 1
    assert "made everything" in nothing["error"]


def test_ctrl_c_ends_the_runs_and_every_process_and_the_rest_is_made_by_resuming(
    bare_state: Path, source: Path, asked: Callable[..., tuple[Ended, Any]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "backfill", FLIGHTS, "--partitions", SPAN],
        env=environment(MLOPS_HOME=bare_state, MLOPS_SOURCE=source),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with record(bare_state) as instance:
        eventually(lambda: bool(instance.get_runs()))
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
        assert process.returncode == 130
        assert psutil.wait_procs(children, timeout=30)[1] == []
        [backfill] = instance.get_backfills()
        assert backfill_record.is_over(backfill)
        assert all(run.is_finished for run in instance.get_runs())
        assert f"--resume {backfill.backfill_id}" in told
        assert "Traceback" not in told

    _, resumed = asked("--resume", backfill.backfill_id, source=source)

    assert resumed["succeeded"] or "made everything" in resumed["error"]
    with record(bare_state) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)


def test_a_killed_command_leaves_a_backfill_that_is_resumed(
    bare_state: Path, source: Path, asked: Callable[..., tuple[Ended, Any]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "backfill", FLIGHTS, "--partitions", SPAN],
        env=environment(MLOPS_HOME=bare_state, MLOPS_SOURCE=source),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with record(bare_state) as instance:
        eventually(lambda: bool(instance.get_runs(dg.RunsFilter(statuses=[STARTED]))))
        family = psutil.Process(process.pid).children(recursive=True)
        for child in [psutil.Process(process.pid), *family]:
            child.kill()
        process.wait()
        instance.wipe_daemon_heartbeats()
        [backfill] = instance.get_backfills()
        assert not backfill_record.is_over(backfill)

    ended, resumed = asked("--resume", backfill.backfill_id, source=source)

    assert ended.code == 0 or "made everything" in resumed["error"]
    with record(bare_state) as instance:
        assert set(instance.get_materialized_partitions(asset_key(FLIGHTS))) == set(DAYS)
        assert all(run.is_finished for run in instance.get_runs())


def test_a_daemon_that_is_alive_does_the_work(
    bare_state: Path, source: Path, asked: Callable[..., tuple[Ended, Any]], tmp_path: Path
) -> None:
    with record(bare_state) as instance:
        theirs = subprocess.Popen(
            [COMMAND[0], "-m", "mlops_assets.cli.backfill_daemon"],
            cwd=bare_state,
            env=environment(
                MLOPS_HOME=bare_state,
                MLOPS_SOURCE=source,
                DAGSTER_HOME=instance.root_directory,
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: alive(instance))
            ended, document = asked(FLIGHTS, "--partitions", DAYS[0], source=source)
            assert ended.code == 0, ended.err
            assert document["partitions_made"] == 1
            assert theirs.poll() is None
            [log] = (bare_state / "logs").glob("backfill-*.log")
            assert log.read_text() == ""
        finally:
            # It ends with what holds its standard input, which is how it ends with a command.
            assert theirs.stdin is not None
            theirs.stdin.close()
            theirs.wait()
        assert not alive(instance)


def test_a_backfill_is_what_the_ui_would_have_added(
    bare_state: Path, definitions: dg.Definitions
) -> None:
    from dagster._core.test_utils import in_process_test_workspace
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster_graphql.test.utils import execute_dagster_graphql

    days = ["2013-01-02", "2013-01-03"]
    graph = definitions.resolve_asset_graph()
    with record(bare_state) as instance:
        ours = backfills.add(
            instance,
            graph,
            targets(graph, FLIGHTS, "..".join(days)),
            {"why": "testing"},
            name=backfills.new_id(),
            title="days",
        )
        origin = LoadableTargetOrigin(module_name="mlops_assets.definitions")
        with in_process_test_workspace(instance, origin) as workspace:
            answer = execute_dagster_graphql(
                workspace,
                LAUNCH,
                {
                    "params": {
                        "assetSelection": [{"path": FLIGHTS.split("/")}],
                        "partitionNames": days,
                        "tags": [{"key": "why", "value": "testing"}],
                        "title": "days",
                    }
                },
            )
        theirs = answer.data["launchPartitionBackfill"]["backfillId"]
        one, other = (instance.get_backfill(name) for name in (ours.backfill_id, theirs))
        neutral = {"backfill_id": "", "backfill_timestamp": 0.0}
        assert one.asset_backfill_data.target_subset == other.asset_backfill_data.target_subset
        assert one._replace(**neutral, asset_backfill_data=None) == other._replace(
            **neutral, asset_backfill_data=None
        )


def test_a_champion_is_asked_for_only_when_the_month_before_is_decided(
    bare_state: Path, definitions: dg.Definitions
) -> None:
    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
    from dagster._core.execution.asset_backfill import execute_asset_backfill_iteration_inner
    from dagster._core.test_utils import in_process_test_workspace
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._time import datetime_from_timestamp

    graph = definitions.resolve_asset_graph()
    months = targets(graph, "flight_delay/champion", "2013-04..2013-06")
    origin = LoadableTargetOrigin(module_name="mlops_assets.definitions")
    with (
        record(bare_state) as instance,
        in_process_test_workspace(instance, origin) as workspace,
    ):
        name = backfills.new_id()
        added = backfills.add(instance, graph, months, {}, name=name, title="months")
        now = datetime_from_timestamp(added.backfill_timestamp)
        first = execute_asset_backfill_iteration_inner(
            name,
            added.asset_backfill_data,
            AssetGraphView(
                temporal_context=TemporalContext(effective_dt=now, last_event_id=None),
                instance=instance,
                asset_graph=workspace.asset_graph,
            ),
            added.backfill_timestamp,
            logging.getLogger(__name__),
            None,
        )
    asked = {request.partition_key for request in first.run_requests}
    assert asked == {"2013-04|EWR", "2013-04|JFK", "2013-04|LGA"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say what to make"),
        ((FLIGHTS, "--resume", "abcdefgh"), "say what to make"),
        (("--resume", "abcdefgh", "--isolated"), "belong to a new backfill"),
        (("--resume", "abcdefgh"), "there is no backfill abcdefgh"),
        ((FLIGHTS, "--partitions", "2014-01-01"), "there is no partition 2014-01-01"),
        ((FLIGHTS, "--partitions", "2013-01-01", "--tag", "why"), "write KEY=VALUE"),
        ((FLIGHTS, "--partitions", "2013-01-01", "--tag", "dagster/x=1"), "choose another key"),
    ],
)
def test_wrong_usage_is_one_sentence(
    command: Callable[..., Ended],
    bare_state: Path,
    definitions: dg.Definitions,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: definitions)
    ended = command("backfill", *arguments, MLOPS_HOME=bare_state)
    assert ended.code == 2
    assert told in ended.err.splitlines()[-1]


STARTED = dg.DagsterRunStatus.STARTED
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that another process does; pytest's timeout ends it."""
    while not holds():
        time.sleep(0.1)
