"""What `mlops-assets doctor` finds, and what it does not touch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, State
from damage import overwrite

from mlops_assets.cli import installation_checks
from mlops_assets.cli.installation_checks import locked_versions
from mlops_assets.cli.lake_checks import sample
from mlops_assets.lake import Lake, Partition


def checks(ended: Ended) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(ended.out)["checks"]}


def test_a_good_state_passes_every_check_of_the_lake_and_the_record(
    state: State, command: Callable[..., Ended]
) -> None:
    found = checks(command("doctor", "--json", "--deep", MLOPS_HOME=state.home))
    assert list(found) == [
        *("python", "packages", "state", "dbt"),
        *("lake", "branch", "tables", "record", "events", "branches", "mlflow"),
    ]
    assert [name for name, check in found.items() if not check["ok"] and name != "packages"] == []


def test_a_file_with_other_bytes_is_found_and_ends_the_command_with_1(
    own_state: Path, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    airlines = lake_of(own_state).snapshot().require("raw/airlines", [Partition()])
    (blob,) = lake_of(own_state).snapshot().files(list(airlines.values()))
    assert blob.is_relative_to(own_state)
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    ended = command("doctor", "--json", "--deep", MLOPS_HOME=own_state)
    assert ended.code == 1
    found = checks(ended)["tables"]
    assert not found["ok"]
    assert "raw/airlines/" in found["sentence"]
    assert "its bytes are damaged" in found["sentence"]
    assert "doctor --repair" in found["remedy"]
    shown = command("doctor", "--deep", MLOPS_HOME=own_state).out
    assert "PROBLEM  tables" in shown
    assert f"→ {found['remedy']}" in shown


def test_a_base_branch_that_does_not_exist_is_a_problem(
    state: State, command: Callable[..., Ended]
) -> None:
    ended = command("doctor", "--json", MLOPS_HOME=state.home, LAKEFS_BRANCH="typo")
    assert ended.code == 1
    assert not checks(ended)["branch"]["ok"]


def test_a_record_of_another_lake_is_found(
    state: State, bare_state: Path, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    lake_of(bare_state).create()
    ended = command("doctor", "--json", MLOPS_HOME=bare_state, DAGSTER_HOME=state.home / "dagster")
    assert "not of the same history" in checks(ended)["record"]["sentence"]


def test_a_base_branch_without_protection_is_found_and_not_repaired(
    own_state: Path, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    lake = lake_of(own_state)
    lake.client.sdk_client.repositories_api.set_branch_protection_rules(lake.repository, [])
    for _ in range(2):
        found = checks(command("doctor", "--json", MLOPS_HOME=own_state))["branch"]
        assert "is not protected" in found["sentence"]


def test_a_key_that_others_can_read_is_found(
    own_state: Path, command: Callable[..., Ended]
) -> None:
    (own_state / "lakefs" / "signing.key").chmod(0o644)
    found = checks(command("doctor", "--json", MLOPS_HOME=own_state))["state"]
    assert "others can read it" in found["sentence"]
    assert found["remedy"].startswith("chmod 600 ")


def test_a_state_in_which_nothing_was_made_yet_is_no_problem(
    bare_state: Path, command: Callable[..., Ended]
) -> None:
    found = checks(command("doctor", "--json", MLOPS_HOME=bare_state))
    assert found["branch"]["ok"]
    assert "`make run` makes it" in found["branch"]["sentence"]


def test_packages_that_differ_from_the_lock_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("click==0.1 \\\n    --hash=sha256:aa\nno-such-package==1.0\n")
    monkeypatch.setattr(installation_checks, "LOCK", lock)
    found = installation_checks.packages()
    assert not found.ok
    assert "locked 0.1" in found.sentence
    assert "no-such-package is missing, locked 1.0" in found.sentence


def test_a_locks_packages_for_other_systems_are_not_asked_for() -> None:
    lock = (
        "# made by uv\n"
        "a==1.0 \\\n    --hash=sha256:aa\n"
        "b==2.0 ; sys_platform == 'plan9' \\\n    --hash=sha256:bb\n"
        "c==3.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:cc\n"
    )
    assert locked_versions(lock) == {"a": "1.0", "c": "3.0"}


def test_a_file_cut_short_is_found_without_reading_all_bytes(
    own_state: Path, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    airlines = lake_of(own_state).snapshot().require("raw/airlines", [Partition()])
    (blob,) = lake_of(own_state).snapshot().files(list(airlines.values()))
    overwrite(blob, blob.read_bytes()[:-1])
    found = checks(command("doctor", "--json", MLOPS_HOME=own_state))["tables"]
    assert "raw/airlines/" in found["sentence"]
    assert "bytes where its manifest names" in found["sentence"]


def test_a_sample_is_spread_over_all_and_the_same_each_time() -> None:
    assert sample(["a", "b"], 3) == ["a", "b"]
    assert sample(list("abcdefghij"), 3) == ["a", "d", "g"]
