"""The main job against a server elsewhere: another process, another state, no shared files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import pytest
from command_line import COMMAND, DAYS, State, environment
from installation import MARTS, RAW, WHOLE, copied, installed
from served_lake import Command, new_key, served

from mlops_assets.lake import Lake


def contents(lake: Lake) -> Mapping[str, object]:
    """What every table consists of on the base branch, by the digest of each file."""
    snapshot = lake.snapshot()
    return {
        table: {part: stored.manifest for part, stored in snapshot.stored(table).items()}
        for table in (*WHOLE, *RAW, *MARTS)
    }


@pytest.mark.parametrize("pre_sign", ["--pre-sign", "--no-pre-sign"])
def test_configured_by_environment_alone_the_main_job_publishes_elsewhere_what_it_does_here(
    state: State,
    source: Path,
    bare_state: Path,
    tmp_path: Path,
    command: Command,
    lake_of: Callable[..., Lake],
    pre_sign: str,
) -> None:
    theirs = tmp_path / "theirs"
    key = new_key(command, theirs)
    with served(theirs, pre_sign) as (port, _):
        remote = {
            "LAKECTL_SERVER_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": key["access_key_id"],
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": key["secret_access_key"],
        }
        ended = subprocess.run(
            [*COMMAND, "run", "--json", "--days", "..".join(DAYS)],
            env=environment(MLOPS_HOME=bare_state, MLOPS_SOURCE=source, **remote),
            check=False,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        assert not (bare_state / "lakefs").exists()
        lake = lake_of(bare_state, **remote)
        assert json.loads(ended.stdout)["commit"] == lake.head()
        assert lake.commit_info(lake.head())["id"] == lake.head()
        assert contents(lake) == contents(lake_of(state.home))
        scheme = "s3://" if pre_sign == "--pre-sign" else "local://"
        stored = lake.snapshot().stored("raw/flights")
        addresses = [where for part in stored.values() for where in part.addresses.values()]
        assert {address.startswith(scheme) for address in addresses} == {True}
        checked = command("doctor", "--json", "--deep", MLOPS_HOME=bare_state, **remote)
        assert {check["name"]: check["ok"] for check in json.loads(checked.out)["checks"]}["tables"]


def test_a_setting_has_the_embedded_server_sign_links(
    parsed_home: Path, definitions: dg.Definitions, tmp_path: Path
) -> None:
    home = copied(parsed_home, tmp_path / "home")
    with installed(home, definitions, MLOPS_LAKEFS_PRE_SIGN="true") as made:
        assert made.materialize(["raw/planes"]).success
        assert made.lake.pre_signed
        snapshot = made.lake.snapshot()
        stored = list(snapshot.stored("raw/planes").values())
        assert [path.stat().st_size > 0 for path in snapshot.files(stored)] == [True]
        addresses = [where for part in stored for where in part.addresses.values()]
        assert [address.partition("://")[0] for address in addresses] == ["s3"]
