"""`mlops-assets lineage`: from what people call a result to everything that made it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended
from traced_lake import DAYS, ESTIMATOR, REASON

from mlops_assets.cli import lineage as lineages
from mlops_assets.lake import Lake, Partition, TablePartition

Ask = Callable[..., Ended]
LakeOf = Callable[[Path], Lake]


def found(ask: Ask, name: str, **declared: object) -> Any:
    ended = ask("lineage", name, "--json", **declared)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def model_of(month: str, origin: str) -> TablePartition:
    return TablePartition("toy/model", Partition.of({"month": month, "origin": origin}))


@pytest.mark.parametrize(
    "name",
    [
        "raw/planes",
        "raw/flights:2013-01-05",
        "marts/fct_flights:2013-02-28",
        "toy/training_set:2013-02",
        "toy/model:2013-04|EWR",
        "toy/evaluation_report:2013-03|JFK",
        "toy/champion:2013-04|JFK",
        "toy.JFK@champion",
    ],
)
def test_reading_the_lake_at_the_commit_gives_those_very_bytes(
    ask: Ask, traced: Path, lake_of: LakeOf, name: str
) -> None:
    document = found(ask, name)
    lake = lake_of(traced / "home")
    snapshot = lake.snapshot(document["commit"])
    assert lake.commit_info(document["commit"])["parents"] == [document["pin"]]
    [result] = document["results"]
    key = TablePartition(result["table"], Partition.from_path(result["partition"]))
    for file in result["files"]:
        assert hashlib.sha256(snapshot.read(key, file["name"])).hexdigest() == file["sha256"]
    assert result["files"]


def test_a_champion_is_the_model_that_the_newest_month_put_in_force(ask: Ask) -> None:
    first = found(ask, "toy/model:2013-02|JFK")
    champion = found(ask, "toy.JFK@champion")
    assert champion["results"] == first["results"]
    assert champion["commit"] == first["commit"]


def test_a_model_says_what_it_was_made_from_with_what_and_where(ask: Ask) -> None:
    document = found(ask, "toy/model:2013-02|JFK")
    trained_on = found(ask, "toy/training_set:2013-02")
    [read] = document["inputs"]
    [row] = trained_on["results"]
    assert read["table"] == "toy/training_set"
    assert read["data_versions"] == {"month=2013-02": row["data_version"]}
    assert read["commits"] == {trained_on["commit"]: 1}
    assert ESTIMATOR.items() <= document["parameters"]["toy/model"]["estimator"].items()
    assert document["code"]["toy/model"]["same"]
    assert document["environment"]["requirements.lock"]["recorded"].startswith("sha256:")
    assert {"xgboost", "python", "machine"} <= document["environment"].keys()
    assert document["message"] == "toy__model: 2013-02|EWR to 2013-04|JFK"
    assert document["run_id"]


def test_a_lineage_leads_up_to_the_files_that_raw_data_was_read_from(
    ask: Ask, traced: Path
) -> None:
    document = found(ask, "toy/model:2013-02|JFK")
    assert document["upstream_complete"]
    tables = {read["table"] for origin in document["upstream"] for read in origin["inputs"]}
    assert {"marts/fct_flights", "raw/flights", "raw/planes"} <= tables
    files: dict[str, str] = {}
    for origin in document["upstream"]:
        files |= origin["sources"]
    read = (traced / "source" / "flights.csv").read_bytes()
    assert files["flights.csv"] == f"sha256:{hashlib.sha256(read).hexdigest()}"


def test_a_long_range_of_days_is_one_input_with_its_commit(ask: Ask) -> None:
    [read] = found(ask, "toy/training_set:2013-02")["inputs"]
    days = found(ask, "marts/fct_flights:2013-01-09")
    assert (read["table"], read["partitions"]) == ("marts/fct_flights", 59)
    assert (read["first"], read["last"]) == tuple(f"day={day}" for day in DAYS)
    assert read["commits"] == {days["commit"]: 59}


def test_what_has_changed_since_is_told_beside_what_was(ask: Ask) -> None:
    document = found(ask, "toy/model:2013-02|JFK", estimator={**ESTIMATOR, "depth": 5})
    code = document["code"]["toy/model"]
    assert not code["same"]
    assert code["recorded"] != code["now"]


def test_an_order_is_part_of_what_made_a_decision(ask: Ask) -> None:
    config = found(ask, "toy/champion:2013-04|JFK")["config"]
    assert config["toy__champion"]["reason"] == REASON
    assert found(ask, "toy/champion:2013-04|EWR")["config"] == {}


def test_a_commit_stands_for_what_it_published_and_a_merge_for_what_it_merged(
    ask: Ask, traced: Path, lake_of: LakeOf
) -> None:
    commit = found(ask, "toy/model:2013-02|JFK")["commit"]
    document = found(ask, commit[:10])
    assert document["commit"] == commit
    partitions = {result["partition"] for result in document["results"]}
    assert len(partitions) == 6
    lake = lake_of(traced / "home")
    head = lake.head()
    assert found(ask, head)["commit"] == lake.commit_info(head)["parents"][1]


def test_a_version_of_a_registered_model_is_a_model_of_the_lake(ask: Ask) -> None:
    versions = [found(ask, f"toy.EWR@{number}")["results"] for number in (1, 2, 3)]
    models = [found(ask, f"toy/model:2013-0{month}|EWR")["results"] for month in (2, 3, 4)]
    assert versions == models


def test_people_get_the_same_in_lines(ask: Ask) -> None:
    document = found(ask, "toy/training_set:2013-02")
    text = ask("lineage", "toy/training_set:2013-02").out
    assert document["commit"] in text
    assert document["results"][0]["files"][0]["sha256"] in text
    assert "59: day=2013-01-01 to 2013-02-28" in text
    assert document["environment"]["requirements.lock"]["recorded"] in text
    assert max(map(len, text.splitlines())) < 120


def test_a_lake_of_many_commits_is_followed_up_so_far_and_says_so(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineages, "MOST_COMMITS", 2)
    document = found(ask, "toy/model:2013-02|JFK")
    assert not document["upstream_complete"]
    assert len(document["upstream"]) == 1
    assert "further up there are more" in ask("lineage", "toy/model:2013-02|JFK").out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("toy/modle:2013-02|JFK", "there is no asset 'toy/modle': there are toy/model, "),
        ("toy/model", "toy/model has partitions, and one is meant: made are 2013-04|JFK, "),
        ("toy/model:2013-02", "toy/model has no partition '2013-02': made are 2013-04|JFK, "),
        ("raw/planes:1", "raw/planes has no partitions: leave out ':1'."),
        ("toy.BOS@champion", "there is no model 'toy.BOS': there are flight_delay.EWR, "),
        ("flight_delay.JFK@champion", "flight_delay.JFK has no champion yet: materialize "),
        ("toy.JFK@best", "toy.JFK has no alias 'best': use @champion, or a version's number."),
        ("feedc0ffee", "'feedc0ffee' is no commit, or begins the names of several: the newest "),
        ("late flights", "'late flights' names no result: use an asset with its partition "),
    ],
)
def test_a_name_that_nothing_has_is_a_sentence_with_what_there_is(
    ask: Ask, name: str, told: str
) -> None:
    ended = ask("lineage", name)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"mlops-assets: {told}")
    assert ended.err.count("\n") == 1


def test_a_partition_that_nobody_has_made_is_said_to_be_missing(ask: Ask) -> None:
    ended = ask("lineage", "flight_delay/model:2013-12|JFK")
    assert ended.code == 1
    assert "materialize flight_delay/model first" in ended.err


def test_a_version_that_mlflow_lacks_is_a_sentence(ask: Ask) -> None:
    ended = ask("lineage", "toy.JFK@99")
    assert ended.code == 1
    assert "has no toy.JFK@99" in ended.err


def test_without_a_lake_the_way_to_one_is_told(
    command: Callable[..., Ended], tmp_path: Path, parsed_home: Path
) -> None:
    ended = command("lineage", "raw/planes", MLOPS_HOME=tmp_path / "empty")
    assert ended.code == 2
    assert "`mlops-assets run` makes it" in ended.err
