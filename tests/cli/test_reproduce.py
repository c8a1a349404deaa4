"""`mlops-assets reproduce`: the same pins give the same bytes again, and leave nothing behind."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, Ended, environment
from installation import copied, installed
from small_source import Row, small_source
from traced_lake import ESTIMATOR, EVERY

from mlops_assets.cli.ancestry import Ancestry
from mlops_assets.cli.execution import Runner
from mlops_assets.components import publishing, raw_table
from mlops_assets.lake import Lake, Partition, TablePartition
from mlops_assets.lakefs_server import EmbeddedServer

Ask = Callable[..., Ended]


@pytest.fixture
def lake(traced: Path, lake_of: Callable[[Path], Lake]) -> Iterator[Lake]:
    """The lake whose results are made again, which stays as it was."""
    lake = lake_of(traced / "home")
    before = lake.head()
    yield lake
    assert lake.head() == before
    with lake.errors():
        assert [branch.id for branch in lake.repo().branches()] == [lake.base_branch]
    assert list(lake.scratch.glob("tx-*")) == []


@pytest.fixture
def tampered(tmp_path: Path) -> Path:
    """The source with other distances on one day."""

    def change(row: Row) -> None:
        if (row["month"], row["day"]) == ("1", "5"):
            row["distance"] = "999"

    return small_source(tmp_path / "tampered", change, days=59, every=EVERY)


@pytest.mark.parametrize(
    "name",
    [
        "raw/planes",
        "raw/flights:2013-01-05",
        "marts/fct_flights:2013-01-09",
        "toy/training_set:2013-02",
        "toy/model:2013-02|JFK",
        "toy/evaluation_report:2013-03|JFK",
        "toy/champion:2013-04|EWR",
        "toy/champion:2013-04|JFK",
        "toy.JFK@champion",
    ],
)
def test_every_kind_of_result_is_made_again_bit_for_bit_after_the_base_branch_moved_on(
    ask: Ask, lake: Lake, name: str
) -> None:
    document = json.loads(ask("lineage", name, "--json").out)
    ended = ask("reproduce", name)
    assert ended.code == 0, ended
    assert ended.out.startswith(f"{name} is identical: ")
    for file in document["results"][0]["files"]:
        assert file["sha256"] in ended.out


def test_a_commit_is_made_again_with_all_that_it_published(ask: Ask, lake: Lake) -> None:
    commit = json.loads(ask("lineage", "toy/model:2013-02|JFK", "--json").out)["commit"]
    document = json.loads(ask("reproduce", commit[:10], "--json").out)
    assert document["identical"]
    assert document["compared"] == 6


def test_another_process_in_another_folder_on_one_thread_gives_the_same(
    traced: Path, lake: Lake, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [*COMMAND, "reproduce", "marts/fct_flights:2013-01-09", "--json"],
        env=environment(
            MLOPS_HOME=traced / "home", MLOPS_SOURCE=traced / "source", OMP_NUM_THREADS="1"
        ),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["identical"]


def test_a_server_elsewhere_is_asked_for_the_same(
    command: Callable[..., Ended], parsed_home: Path, definitions: Any, tmp_path: Path
) -> None:
    with EmbeddedServer(tmp_path / "elsewhere", pre_sign=True) as endpoint:
        remote = {
            "LAKECTL_SERVER_ENDPOINT_URL": endpoint.url,
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": endpoint.access_key_id,
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": endpoint.secret_access_key,
        }
        home = copied(parsed_home, tmp_path / "home")
        with installed(home, definitions, **remote) as made:
            assert made.materialize(["raw/planes"]).success
        ended = command("reproduce", "raw/planes", "--json", MLOPS_HOME=home, **remote)
        assert json.loads(ended.out)["identical"], ended
        assert made.lake.work_branches() == []


def test_neither_dagsters_record_nor_mlflow_hears_of_it(ask: Ask, traced: Path, lake: Lake) -> None:
    def records() -> dict[Path, int]:
        folders = (traced / "home" / name for name in ("dagster/history", "mlflow"))
        found = [path for folder in folders for path in folder.rglob("*.db")]
        return {path: path.stat().st_mtime_ns for path in found}

    before = records()
    assert {path.parent.name for path in before} >= {"runs", "mlflow"}
    assert ask("reproduce", "toy/champion:2013-04|EWR").code == 0
    assert ask("reproduce", "toy/model:2013-04|EWR").code == 0
    assert records() == before


def test_a_tampered_source_is_named(ask: Ask, lake: Lake, tampered: Path) -> None:
    ended = ask("reproduce", "raw/flights:2013-01-05", source=tampered)
    assert ended.code == 1
    assert "differs from commit" in ended.out
    assert "the source flights.csv was sha256:" in ended.out
    assert "part-0.parquet  sha256 was " in ended.out


def test_a_tampered_source_that_leaves_a_result_as_it_was_is_no_difference(
    ask: Ask, lake: Lake, tampered: Path
) -> None:
    assert ask("reproduce", "raw/flights:2013-01-06", source=tampered).code == 0


def test_a_parameter_that_changed_is_named_with_both_values(ask: Ask, lake: Lake) -> None:
    changed = {**ESTIMATOR, "depth": 3}
    ended = ask("reproduce", "toy/model:2013-02|JFK", "--json", estimator=changed)
    document = json.loads(ended.out)
    assert ended.code == 1
    assert not document["identical"]
    assert "parameter toy/model estimator.depth was 2 and is 3" in document["reasons"]
    [differing] = document["differing"]
    assert differing["recorded"].keys() == differing["rebuilt"].keys() == {"model.ubj"}


def test_another_version_of_a_package_that_writes_other_bytes_is_named(
    ask: Ask, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(
        publishing, "environment", lambda: {"environment/pyarrow": "99.1", "environment/new": "1"}
    )
    monkeypatch.setattr(raw_table, "write_table", pq.write_table)
    ended = ask("reproduce", "raw/planes")
    assert ended.code == 1
    assert "pyarrow was 2" in ended.out
    assert "and is 99.1" in ended.out
    assert "the source" not in ended.out


def test_where_nothing_that_was_recorded_differs_it_says_so(
    ask: Ask, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(raw_table, "write_table", pq.write_table)
    ended = ask("reproduce", "raw/planes")
    assert ended.code == 1
    assert "no input, parameter, code or package that its commit records does" in ended.out


def test_everything_is_made_again_from_the_raw_files(ask: Ask, lake: Lake) -> None:
    ended = ask("reproduce", "toy/champion:2013-02|JFK", "--deep", "--json")
    document = json.loads(ended.out)
    assert ended.code == 0, ended
    assert document["deep"]
    assert document["compared"] > 2 * 59
    steps = [line.split()[0] for line in ended.err.splitlines() if line.startswith("  ")]
    assert steps[-5:] == [
        "marts",
        "toy__training_set",
        "toy__model",
        "toy__evaluation_report",
        "toy__champion",
    ]
    assert "marts: 2013-01-01 to 2013-02-28" in ended.err


def test_made_from_raw_files_the_first_table_that_differs_is_named(
    ask: Ask, lake: Lake, tampered: Path
) -> None:
    ended = ask("reproduce", "marts/fct_flights:2013-01-05", "--deep", source=tampered)
    assert ended.code == 1
    assert "differs from commit" in ended.out
    assert "first in raw/flights day=2013-01-05 and 2 more" in ended.out
    assert "the source flights.csv was" in ended.out


def test_a_step_that_fails_leaves_nothing_and_says_why(
    ask: Ask, lake: Lake, tmp_path: Path
) -> None:
    ended = ask("reproduce", "raw/planes", source=tmp_path / "nowhere")
    assert (ended.code, ended.out) == (1, "")
    assert "cannot be made again: raw_planes failed: There is no file" in ended.err


def test_ctrl_c_leaves_nothing(ask: Ask, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out = Runner.run

    def interrupted(self: Runner, *arguments: Any) -> None:
        carry_out(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    assert ask("reproduce", "raw/planes").code == 130


def test_what_no_step_made_cannot_be_made_again(ask: Ask, lake: Lake) -> None:
    ended = ask("reproduce", "toy/training_set:2013-03")
    assert ended.code == 1
    assert "was made by no step" in ended.err


def test_a_look_back_asks_for_no_day_before_the_first(built: Any) -> None:
    graph = built.definitions.resolve_asset_graph()
    wanted = TablePartition("features/carrier_history", Partition.of({"day": "2013-01-03"}))
    steps = Ancestry(graph, built.lake.snapshot()).steps([wanted])
    found = {step.name: list(step.partitions) for step in steps}
    days = ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert found["features"] == ["2013-01-03"]
    assert found["marts"] == found["raw_flights"] == days
    assert found["raw_planes"] == [None]
    assert [step.name for step in steps][-2:] == ["marts", "features"]
