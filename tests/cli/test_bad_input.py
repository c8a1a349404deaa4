"""What a user can get wrong: each one sentence with the way out, and the base branch as it was."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import DAYS, Ended, State
from small_disk import fill, make_room, read_only, small_disk

from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import EmbeddedServer

RUN = ("run", "--days", "..".join(DAYS))


def without_tail_numbers(source: Path) -> None:
    planes = source / "planes.csv"
    planes.write_text(planes.read_text().replace("tailnum", "tail"))


def cut_off(source: Path) -> None:
    planes = source / "planes.csv"
    planes.write_bytes(planes.read_bytes()[:-20])


def with_every_key_twice(source: Path) -> None:
    header, *rows = (source / "planes.csv").read_text().splitlines()
    twice = [header, *rows, *(row.replace("2004", "2005") for row in rows)]
    (source / "planes.csv").write_text("\n".join(twice) + "\n")


@pytest.mark.parametrize(
    ("spoil", "told", "kept"),
    [
        (without_tail_numbers, "lacks the column tailnum", 0),
        (cut_off, "is cut off", 0),
        (with_every_key_twice, "break the contract", 1),
    ],
)
def test_a_spoilt_source_fails_its_step_with_one_sentence_and_publishes_nothing(
    *,
    spoil: Callable[[Path], None],
    told: str,
    kept: int,
    own_state: Path,
    source: Path,
    tmp_path: Path,
    command: Callable[..., Ended],
    lake_of: Callable[[Path], Lake],
) -> None:
    spoilt = Path(shutil.copytree(source, tmp_path / "spoilt"))
    spoil(spoilt)
    before = lake_of(own_state).head()

    ended = command(*RUN, "--json", MLOPS_HOME=own_state, MLOPS_SOURCE=spoilt)

    assert ended.code == 1
    failure = json.loads(ended.out)
    assert not failure["succeeded"]
    assert failure["step"] == "raw_planes"
    assert failure["error"].startswith("raw_planes failed: ")
    assert told in failure["error"]
    assert lake_of(own_state).head() == before
    assert failure["kept_branches"] == lake_of(own_state).work_branches()
    assert len(failure["kept_branches"]) == kept
    assert all(branch in failure["error"] for branch in failure["kept_branches"])
    assert ended.err.splitlines()[-1] == f"mlops-assets: {failure['error']}"
    assert "Traceback" not in ended.err


def test_an_endpoint_where_nobody_listens(own_state: Path, command: Callable[..., Ended]) -> None:
    ended = command(
        *RUN,
        MLOPS_HOME=own_state,
        LAKECTL_SERVER_ENDPOINT_URL="http://127.0.0.1:9",
        LAKECTL_CREDENTIALS_ACCESS_KEY_ID="key",
        LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY="secret",
    )
    assert ended.code == 1
    assert "no lakeFS server answers at http://127.0.0.1:9" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_credential_that_the_server_refuses(
    own_state: Path, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    before = lake_of(own_state).head()
    with EmbeddedServer(own_state / "lakefs") as endpoint:
        ended = command(
            *RUN,
            MLOPS_HOME=own_state,
            LAKECTL_SERVER_ENDPOINT_URL=endpoint.url,
            LAKECTL_CREDENTIALS_ACCESS_KEY_ID=endpoint.access_key_id,
            LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY="not it",
        )
    assert ended.code == 1
    assert "refuses the credentials" in ended.err
    assert "not it" not in ended.err
    assert lake_of(own_state).head() == before


def test_an_endpoint_without_a_key(own_state: Path, command: Callable[..., Ended]) -> None:
    ended = command(*RUN, MLOPS_HOME=own_state, LAKECTL_SERVER_ENDPOINT_URL="http://127.0.0.1:9")
    assert ended.code == 1
    assert "LAKECTL_CREDENTIALS_ACCESS_KEY_ID" in ended.err


@pytest.mark.parametrize("arguments", [RUN, ("doctor",), ("ui",)])
def test_a_state_directory_of_a_newer_format_is_refused(
    arguments: tuple[str, ...], tmp_path: Path, command: Callable[..., Ended]
) -> None:
    (tmp_path / "format").write_text("99\n")
    ended = command(*arguments, MLOPS_HOME=tmp_path)
    assert ended.code == 1
    assert "has format 99, newer than" in ended.out + ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["format"]


@pytest.fixture
def full_disk(state: State, tmp_path: Path) -> Iterator[Path]:
    """The state on a disk of its own that has no room left for a run."""
    size = sum(path.stat().st_blocks * 512 for path in state.home.rglob("*")) + (2 << 20)
    with small_disk(tmp_path / "disk", size) as place:
        shutil.copytree(state.home, place, dirs_exist_ok=True)
        fill(place, 400_000)
        yield place


def test_a_full_disk_is_named_and_what_was_published_stays_whole(
    full_disk: Path, state: State, command: Callable[..., Ended], lake_of: Callable[[Path], Lake]
) -> None:
    before = lake_of(state.home).head()
    ended = command("run", "--days", "2013-01-03", MLOPS_HOME=full_disk)
    assert ended.code == 1
    assert f"no space is left on the disk that holds {full_disk}" in ended.err
    assert "Traceback" not in ended.err
    make_room(full_disk)
    lake = lake_of(full_disk)
    assert lake.commit_info(before)["id"] == before
    doctor = json.loads(command("doctor", "--deep", "--json", MLOPS_HOME=full_disk).out)
    assert {check["name"]: check["ok"] for check in doctor["checks"]}["tables"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "--days", "yesterday"), "'yesterday' is no range of days"),
        (("run", "--month", "2014-05"), "there is no model of 2014-05: months are 2013-04 to"),
        (("run", "--origin", "ORD"), "there is no origin ORD: use EWR, JFK, LGA"),
        (("run", "--days", "2014-01-01"), "there is no day 2014-01-01"),
        (("fly",), "No such command 'fly'"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_would_be_right(
    arguments: tuple[str, ...], told: str, own_state: Path, command: Callable[..., Ended]
) -> None:
    ended = command(*arguments, MLOPS_HOME=own_state)
    assert ended.code == 2
    assert told in ended.err


def test_debug_raises_what_otherwise_is_a_sentence(
    tmp_path: Path, command: Callable[..., Ended]
) -> None:
    (tmp_path / "format").write_text("99\n")
    with pytest.raises(Exception, match="has format 99"):
        command(*RUN, "--debug", MLOPS_HOME=tmp_path)


def test_reading_commands_read_a_home_that_cannot_be_written_or_say_what_they_cannot(
    own_state: Path, tmp_path: Path, command: Callable[..., Ended]
) -> None:
    assert command("branch", "create", "exp", MLOPS_HOME=own_state).code == 0
    with read_only(own_state, tmp_path / "mounted") as home:
        for reading in (
            ("lineage", f"raw/flights:{DAYS[0]}"),
            ("branch", "list"),
            ("branch", "diff", "exp"),
            ("lakefs", "key", "list"),
        ):
            assert command(*reading, MLOPS_HOME=home).code == 0, reading
        no_champion = command("champion", "flight_delay.JFK", MLOPS_HOME=home)
        assert "flight_delay.JFK has no champion yet" in no_champion.err
        told = f"Dagster's record {home}/dagster cannot be opened, because SQLite writes beside"
        assert told in command("automation", "list", MLOPS_HOME=home).err
        checks = json.loads(command("doctor", "--json", MLOPS_HOME=home).out)["checks"]
        found = {check["name"]: check for check in checks}
        assert found["tables"]["ok"]
        assert found["state"]["sentence"] == f"{home} cannot be written."
        assert found["record"]["sentence"].startswith(told)
        for writing in (RUN, ("branch", "create", "another"), ("backfill", "raw/airlines")):
            [sentence] = command(*writing, MLOPS_HOME=home).err.splitlines()
            assert "Read-only file system" in sentence
            assert f"set MLOPS_HOME, now {home}, to a place that can be written." in sentence
