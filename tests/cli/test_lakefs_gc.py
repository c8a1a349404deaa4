"""`mlops-assets lakefs gc`, and the schedule that does the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from command_line import Ended, configured

from mlops_assets.defs.automation.retention import retention, weekly_retention
from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer

Command = Callable[..., Ended]


def leave_failed_work(lake: Lake, home: Path) -> None:
    """A branch that was dropped with what it held, an old log, and a work branch of today."""
    dropped = lake.repo().branch("dropped").create(lake.base_branch)
    dropped.object("object").upload(b"of no use")
    dropped.commit("of no use")
    dropped.delete()
    lake.repo().branch("tx-today").create(lake.base_branch).object("object").upload(b"staged")
    (home / "logs").mkdir(exist_ok=True)
    (home / "logs" / "old.log").write_text("old")
    for file in [*(home / "lakefs" / "blobs").glob("*/*"), home / "logs" / "old.log"]:
        os.utime(file, (0, 0))


def test_what_nothing_names_goes_and_a_dry_run_says_so_before(
    command: Command, own_state: Path, lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    leave_failed_work(lake, own_state)

    would = command("lakefs", "gc", "--dry-run", "--json", MLOPS_HOME=own_state)
    did = command("lakefs", "gc", "--json", MLOPS_HOME=own_state)
    again = command("lakefs", "gc", MLOPS_HOME=own_state)
    checked = command("doctor", "--deep", MLOPS_HOME=own_state)

    assert (would.code, did.code, again.code, checked.code) == (0, 0, 0, 0), checked.out
    found = json.loads(did.out)
    assert {**found, "dry_run": True} == json.loads(would.out)
    assert found["branches"] == {"gone": [], "kept": ["tx-today"]}
    assert (found["store"]["commits"], found["store"]["blobs"]) == (1, 1)
    assert found["store"]["size"] == len(b"of no use")
    assert found["logs"]["count"] == 1
    assert "0 gone, 1 kept" in again.out
    assert "0 gone, 0.0 MB; with them 0 commits" in again.out


def test_another_servers_objects_are_its_own_business(
    command: Command, bare_state: Path, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path / "elsewhere") as endpoint:
        ended = command(
            *("lakefs", "gc"),
            MLOPS_HOME=bare_state,
            LAKECTL_SERVER_ENDPOINT_URL=endpoint.url,
            LAKECTL_CREDENTIALS_ACCESS_KEY_ID=endpoint.access_key_id,
            LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY=endpoint.secret_access_key,
        )

    assert ended.code == 0, ended.err
    assert "another server keeps the lake" in ended.out
    assert not (bare_state / "lakefs").exists()


def test_a_day_is_the_least_that_failed_work_is_kept(command: Command, bare_state: Path) -> None:
    ended = command("lakefs", "gc", "--older-than", "0", MLOPS_HOME=bare_state)

    assert ended.code == 2
    assert "--older-than" in ended.err


def test_a_registry_that_is_down_stops_the_sweep_with_a_sentence(
    command: Command, own_state: Path
) -> None:
    ended = command("lakefs", "gc", MLOPS_HOME=own_state, MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert ended.code == 1
    assert ended.err.startswith("mlops-assets: nothing was swept")
    assert "http://127.0.0.1:9" in ended.err


def test_the_schedule_is_off_until_somebody_wants_it_and_runs_the_same_sweep(
    own_state: Path, lake_of: Callable[[Path], Lake]
) -> None:
    leave_failed_work(lake_of(own_state), own_state)

    with configured(MLOPS_HOME=own_state):
        result = retention.execute_in_process(
            run_config={"ops": {"sweep_lake": {"config": {"days": 1}}}}
        )

    assert result.success
    assert not (own_state / "logs" / "old.log").exists()
    assert weekly_retention.default_status == dg.DefaultScheduleStatus.STOPPED
    assert "older than 14 days" in (weekly_retention.description or "")
