"""Backfills as a user runs them: through Dagster's instance, with its queue and run processes."""

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from backfilled import DAYS, FLIGHTS, SPAN, eventually, made, record
from command_line import COMMAND, Ended, environment
from installation import asset_key

from mlops_assets.cli.backfill_daemon import alive
from mlops_assets.cli.backfill_plan import targets
from mlops_assets.components import backfills

# Each starts the command, a daemon, its code server and a process for each run.
pytestmark = pytest.mark.timeout(900)


@contextmanager
def another_daemon(home: Path, source: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is there before the command is; it reads this source all along."""
    with record(home) as instance:
        theirs = subprocess.Popen(
            [COMMAND[0], "-m", "mlops_assets.cli.backfill_daemon"],
            cwd=home,
            env=environment(
                MLOPS_HOME=home, MLOPS_SOURCE=source, DAGSTER_HOME=instance.root_directory
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: alive(instance))
            yield theirs
        finally:
            # It ends with what holds its standard input, which is how it ends with a command.
            assert theirs.stdin is not None
            theirs.stdin.close()
            theirs.wait()
        assert not alive(instance)


def test_a_daemon_that_is_alive_publishes_what_passes_and_makes_the_rest_when_it_is_resumed(
    asked: Callable[..., tuple[Ended, Any]],
    published: Callable[..., None],
    bare_state: Path,
    broken: Path,
    source: Path,
) -> None:
    published("raw/airports", source=source)
    selection = ("raw/flights+", "--partitions", SPAN, "--tag", "why=testing")
    with another_daemon(bare_state, broken) as theirs:
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

        # The source is corrected.
        shutil.copytree(source, broken, dirs_exist_ok=True)
        ended, resumed = asked("--resume", failed["backfill"], source=broken)

        assert ended.code == 0, ended.err
        assert resumed["partitions_made"] == resumed["partitions"] == 1 + len(DAYS)
        with record(bare_state) as instance:
            assert made(instance)[2] == {DAYS[-1]}
            staged = [part for part in made(instance, "staging/stg_flights") if part]
            assert set().union(*staged) == set(DAYS)

        ended, nothing = asked("--resume", failed["backfill"], source=broken)
        assert ended.code == 1
        assert "made everything" in nothing["error"]
        assert theirs.poll() is None
    logs = list((bare_state / "logs").glob("backfill-*.log"))
    assert logs
    assert not any(log.read_text() for log in logs)


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


@pytest.mark.parametrize(
    "selection",
    ['key:"raw/flights"', "key:raw/fl*", " or ".join(["key:raw/flights"] * 9), 'tag:"a%b"'],
)
def test_a_backfill_is_added_whatever_the_selection_looks_like(
    bare_state: Path, definitions: dg.Definitions, selection: str
) -> None:
    graph = definitions.resolve_asset_graph()
    wanted = targets(graph, FLIGHTS, DAYS[0])
    with record(bare_state) as instance:
        name = backfills.new_id()
        backfills.add(instance, graph, wanted, {}, name=name, title=f"{selection} {DAYS[0]}")
        assert instance.get_backfill(name).title


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


LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
