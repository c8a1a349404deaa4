"""What runs by itself is off until somebody switches it on, by name or as recommended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from command_line import Ended, environment
from installation import Installation

from mlops_assets.cli.automation import look_through
from mlops_assets.defs.automation.recommended import RECOMMENDED
from mlops_assets.settings import ROOT

Command = Callable[..., Ended]


@pytest.fixture
def home(parsed_home: Path, tmp_path: Path) -> Path:
    """A state directory without a record, in which dbt's project is parsed."""
    own = tmp_path / "state"
    own.mkdir()
    (own / "dbt").symlink_to(parsed_home / "dbt")
    return own


def listed(command: Command, home: Path) -> dict[str, dict[str, Any]]:
    ended = command("automation", "list", "--json", MLOPS_HOME=home)
    assert ended.code == 0
    return {one["name"]: one for one in json.loads(ended.out)}


def test_nothing_is_on_by_accident_and_everything_says_what_it_does(
    definitions: dg.Definitions,
) -> None:
    repository = definitions.get_repository_def()
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED, schedule.name
        assert schedule.description, schedule.name
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED, sensor.name
        assert sensor.description, sensor.name


def test_what_is_recommended_exists(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    known = {one.name for one in (*repository.schedule_defs, *repository.sensor_defs)}
    assert set(RECOMMENDED) <= known
    assert len(set(RECOMMENDED)) == len(RECOMMENDED)


def test_one_command_switches_on_exactly_what_is_recommended_and_another_all_off(
    command: Command, home: Path
) -> None:
    assert not any(one["on"] for one in listed(command, home).values())
    switched = command("automation", "on", MLOPS_HOME=home)
    assert switched.out.startswith("switched on: ")
    shown = listed(command, home)
    assert {name for name, one in shown.items() if one["on"]} == set(RECOMMENDED)
    again = json.loads(command("automation", "on", "--json", MLOPS_HOME=home).out)
    assert again == {"on": True, "changed": [], "already": list(RECOMMENDED)}
    assert command("automation", "off", MLOPS_HOME=home).out.startswith("switched off: ")
    assert command("automation", "off", MLOPS_HOME=home).out == "nothing to switch off.\n"
    assert not any(one["on"] for one in listed(command, home).values())


def test_dagsters_own_command_shows_what_was_switched_on(command: Command, home: Path) -> None:
    command("automation", "on", "run_failures", MLOPS_HOME=home)
    shown = subprocess.run(
        [sys.executable, "-m", "dagster", "sensor", "list", "-w", str(ROOT / "workspace.yaml")],
        cwd=home,
        env=environment(MLOPS_HOME=home, DAGSTER_HOME=home / "dagster"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Sensor: run_failures [RUNNING]" in shown
    assert "Sensor: monitor_alarms [STOPPED]" in shown


def test_a_name_that_does_not_exist_switches_nothing(command: Command, home: Path) -> None:
    ended = command("automation", "on", "run_failures", "run_failure", MLOPS_HOME=home)
    assert ended.code == 2
    assert "there is no schedule or sensor run_failure: there are" in ended.err
    assert not any(one["on"] for one in listed(command, home).values())


def test_switching_on_leaves_no_tick_to_look_through_the_record(
    built: Installation, definitions: dg.Definitions
) -> None:
    graph = definitions.resolve_asset_graph()
    look_through(built.instance, graph)
    for record in built.instance.get_asset_records(sorted(graph.get_all_asset_keys())):
        node, noted = graph.get(record.asset_entry.asset_key), record.asset_entry.cached_status
        if node.partitions_def is None:
            continue
        assert noted is not None, node.key
        last = record.asset_entry.last_materialization_record
        assert last is None or noted.latest_storage_id >= last.storage_id, node.key
        there = noted.deserialize_materialized_partition_subsets(node.partitions_def)
        made = built.instance.get_materialized_partitions(node.key)
        assert set(there.get_partition_keys()) == made, node.key


def test_the_list_shows_how_the_last_tick_went(command: Command, home: Path) -> None:
    command("automation", "on", "run_failures", MLOPS_HOME=home)
    subprocess.run(
        [sys.executable, "-c", TICK],
        env=environment(MLOPS_HOME=home, DAGSTER_HOME=home / "dagster"),
        check=True,
    )
    told = listed(command, home)["run_failures"]
    assert told["outcome"] == "FAILURE"
    assert told["told"] == "the webhook is down"
    text = command("automation", "list", MLOPS_HOME=home).out
    assert "FAILURE: the webhook is down" in text


TICK = """
import dagster as dg
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster_shared.error import SerializableErrorInfo

with dg.DagsterInstance.get() as instance:
    [state] = instance.all_instigator_state()
    instance.create_tick(TickData(
        instigator_origin_id=state.instigator_origin_id, instigator_name=state.instigator_name,
        instigator_type=state.instigator_type, status=TickStatus.FAILURE, timestamp=1.4e9,
        selector_id=state.selector_id,
        error=SerializableErrorInfo("the webhook is down\\n", [], None),
    ))
"""
