"""What a notebook reads of the past, by commit and by name, and how MLflow notes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import mlflow
import pyarrow.parquet as pq
import pytest
from command_line import Ended, configured
from traced_lake import with_problem

from mlops_assets import notebook
from mlops_assets.cli.plan import RequestError
from mlops_assets.lake import LakeError, MissingPartitionError


@pytest.fixture(autouse=True)
def over_the_traced_lake(
    traced: Path, definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    found = with_problem(definitions)
    monkeypatch.setattr("mlops_assets.definitions.defs", lambda: found)
    with configured(MLOPS_HOME=traced / "home"):
        yield


def test_a_table_reads_as_its_files_do() -> None:
    now = notebook.at()
    [day, *_] = now.partitions("marts/fct_flights")
    stored = now.snapshot.require("marts/fct_flights")
    wanted = sum(
        pq.read_metadata(file).num_rows for file in now.snapshot.files(list(stored.values()))
    )
    assert len(now.read("marts/fct_flights")) == wanted
    one = now.arrow("marts/fct_flights", day)
    assert {str(found) for found in one.column("flight_date").to_pylist()} == {day}
    assert "marts/fct_flights" in now.tables()


def test_a_span_and_several_keys_are_what_they_name() -> None:
    now = notebook.at()
    first, second, *_ = now.partitions("raw/flights")
    spanned = now.read("raw/flights", f"{first}..{second}")
    assert len(spanned) == len(now.read("raw/flights", [first, second]))
    assert len(spanned) > len(now.read("raw/flights", first))


def test_a_result_by_name_is_the_state_that_made_it(ask: Callable[..., Ended]) -> None:
    for name in ("toy.JFK@champion", "raw/airlines"):
        told = json.loads(ask("lineage", name, "--json").out)
        assert notebook.at(name).commit == told["commit"]


def test_the_past_stays_as_it_was() -> None:
    now = notebook.at()
    first = notebook.at(now.snapshot.lake.first_commit())
    assert first.tables() == []
    assert notebook.at(now.commit[:12]).commit == now.commit
    assert notebook.at("main").commit == now.commit


def test_files_of_a_model_are_those_of_its_manifest() -> None:
    champion = notebook.at("toy.JFK@champion")
    [partition, *_] = [key for key in champion.partitions("toy/model") if "JFK" in key]
    files = champion.files("toy/model", partition)
    assert list(files) == ["model.ubj"]
    assert files["model.ubj"].read_bytes()[:1] == b"{"
    with pytest.raises(LakeError, match="holds files, not rows"):
        champion.read("toy/model", partition)


def test_what_does_not_exist_is_named_with_what_does() -> None:
    now = notebook.at()
    with pytest.raises(MissingPartitionError, match="has no partition '2031-01-01'"):
        now.read("raw/flights", "2031-01-01")
    with pytest.raises(MissingPartitionError, match="raw/nothing does not exist"):
        now.read("raw/nothing")
    with pytest.raises(RequestError, match="names no result"):
        notebook.at("no such thing")


def test_an_active_run_notes_the_pin_and_what_was_read(tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    now = notebook.at()
    with mlflow.start_run() as run:
        now.read("raw/airlines")
    now.read("raw/planes")
    noted = mlflow.MlflowClient().get_run(run.info.run_id)
    [entry] = noted.inputs.dataset_inputs
    assert entry.dataset.name == "raw/airlines"
    source = json.loads(entry.dataset.source)
    assert source["uri"] == f"lakefs://mlops-assets/{now.commit}/raw/airlines"
    assert source["partitions"] == 1
    assert noted.data.tags["lake/pin"] == now.commit
