"""Published means materialized: what an audit refuses reaches neither the lake nor the record."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from installation import MARTS, Installation, reading
from small_source import Row, small_source

from mlops_assets.components import code_version as code_versions
from mlops_assets.components import dbt_build, dbt_manifest, dbt_runner
from mlops_assets.components.dbt_build import BuildOutcome, NodeOutcome
from mlops_assets.lake import Partition, TablePartition
from mlops_assets.settings import ROOT

DAY = "2013-01-03"
DAY_PARTITION = Partition.of({"day": DAY})


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        evaluation.check_name
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }


def test_a_failed_dbt_test_publishes_and_records_nothing_and_keeps_what_was_built(
    built: Installation, tmp_path: Path
) -> None:
    with reading(small_source(tmp_path / "source", _of_an_unknown_carrier)):
        assert built.materialize(["raw/flights"], DAY).success
    head = built.lake.head()
    recorded = [built.materialization(asset, DAY) for asset in MARTS]

    result = built.materialize(MARTS, DAY)

    assert not result.success
    assert "fct_flights_carrier_has_a_name" in failure(result)
    assert failed_checks(result) == {"fct_flights_carrier_has_a_name"}
    assert result.asset_materializations_for_node("marts") == []
    assert [built.materialization(asset, DAY) for asset in MARTS] == recorded
    assert built.lake.head() == head
    [branch] = built.lake.work_branches()
    assert branch == f"tx-{result.run_id}-marts-{result.run_id}-0"
    assert branch in failure(result)
    key = TablePartition("marts/fct_flights", DAY_PARTITION)
    [kept] = built.lake.snapshot(branch).stored(key.table, [DAY_PARTITION]).values()
    [published] = built.lake.snapshot().stored(key.table, [DAY_PARTITION]).values()
    assert kept.manifest.rows == published.manifest.rows
    assert kept.manifest.data_version != published.manifest.data_version


def test_a_build_that_left_half_a_file_is_reported_for_why_it_failed(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = dbt_manifest.load(ROOT / "dbt_project")["nodes"].values()
    [test] = [node for node in nodes if node["name"] == "fct_flights_carrier_has_a_name"]

    def full_disk(*build: Any) -> BuildOutcome:
        lake_root = Path(build[-1]["lake_root"])
        (lake_root / "marts/fct_flights" / f"day={DAY}" / "part-0.parquet").write_bytes(b"PAR1")
        return BuildOutcome(
            [
                NodeOutcome(test["unique_id"], "fail", "Got 1 result", failures=1),
                NodeOutcome("model.fct_flights", "error", "No space left on device", failures=0),
            ]
        )

    monkeypatch.setattr(dbt_build, "build", full_disk)
    result = built.materialize(MARTS, DAY)

    assert not result.success
    assert f"{test['unique_id']} failed: Got 1 result, and 1 more. Nothing was" in failure(result)
    assert "what was built could not be kept: " in failure(result)
    assert failed_checks(result) == {test["name"]}


def test_a_build_that_lacks_the_result_of_a_check_is_not_published(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = built.lake.head()
    monkeypatch.setattr(
        dbt_runner,
        "selecting",
        lambda names: ["--select", *names, "--indirect-selection", "empty"],
    )

    result = built.materialize(MARTS, DAY)

    assert not result.success
    assert "dbt passed over test.mlops_assets." in failure(result)
    assert "and 12 more, which had to run" in failure(result)
    assert built.lake.head() == head
    assert result.asset_materializations_for_node("marts") == []


def test_code_that_was_edited_after_the_definitions_were_loaded_publishes_nothing(
    built: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = built.lake.head()
    late = tmp_path / "imported_late.py"
    late.write_text("answer = 2")
    monkeypatch.setitem(code_versions._counted, late, "the digest of its earlier text")

    result = built.materialize(["raw/flights"], DAY)

    assert f"{late} was edited after this process loaded the definitions" in failure(result)
    assert built.lake.head() == head


def test_a_model_that_writes_no_file_of_a_partition_is_not_published(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, build = built.lake.head(), dbt_build.build

    def losing_a_file(*arguments: Any) -> BuildOutcome:
        outcome = build(*arguments)
        lake_root = Path(arguments[-1]["lake_root"])
        (lake_root / "marts/fct_flights" / f"day={DAY}" / "part-0.parquet").unlink()
        return outcome

    monkeypatch.setattr(dbt_build, "build", losing_a_file)
    result = built.materialize(MARTS, DAY)

    assert f"marts/fct_flights wrote no file of day={DAY}" in failure(result)
    assert built.lake.head() == head


def test_a_broken_contract_publishes_and_records_nothing_and_keeps_the_bad_rows(
    built: Installation, tmp_path: Path
) -> None:
    head, recorded = built.lake.head(), built.materialization("raw/flights", DAY)

    with reading(small_source(tmp_path / "source", _of_an_unknown_origin)):
        result = built.materialize(["raw/flights", *MARTS], DAY)

    assert not result.success
    assert "914 of 914 rows of 2013-01-03" in failure(result)
    assert failed_checks(result) == {"contract"}
    assert built.materialization("raw/flights", DAY) == recorded
    assert built.lake.head() == head
    [branch] = built.lake.work_branches()
    assert branch in failure(result)
    [bad] = built.lake.snapshot(branch).stored("raw/flights_quarantine").values()
    assert bad.key.partition == DAY_PARTITION
    assert bad.manifest.rows == 914
    assert "reason" in bad.manifest.schema


def test_a_corrected_source_converges_to_what_was_there(
    built: Installation, tmp_path: Path
) -> None:
    before = built.manifests()
    with reading(small_source(tmp_path / "bad", _of_an_unknown_origin)):
        assert not built.materialize(["raw/flights"], DAY).success
    with reading(small_source(tmp_path / "good")):
        assert built.materialize(["raw/flights"], DAY).success
    assert built.manifests() == before


def _of_an_unknown_carrier(row: Row) -> None:
    if row["day"] == "3" and row["carrier"] == "9E":
        row["carrier"] = "ZZ"


def _of_an_unknown_origin(row: Row) -> None:
    if row["day"] == "3":
        row["origin"] = "SFO"
