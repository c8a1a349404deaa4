"""What MLflow shows is what the lake holds, however often and from wherever it is written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from lake_results import (
    evaluation,
    model,
    partition,
    pin,
    publish_champion,
    publish_models,
    publish_reports,
    rows,
)
from mlflow import MlflowClient

from mlops_assets.lake import Lake
from mlops_assets.tracking import runs
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.projection import Tracking

MAY, JUNE, JULY = (partition(month) for month in ("2013-05", "2013-06", "2013-07"))


def client(folder: Path) -> MlflowClient:
    return MlflowClient(Registry(None, folder).address)


def shown(folder: Path) -> dict[str, Any]:
    """Everything that MLflow shows, by what the lake calls it."""
    asked = client(folder)
    experiment = asked.get_experiment_by_name("toy")
    found = asked.search_runs([experiment.experiment_id]) if experiment else []
    return {
        "runs": {
            run.info.run_id: (run.info.status, run.data.params, run.data.metrics, run.data.tags)
            for run in found
        },
        "versions": {
            (version.name, version.version): (version.run_id, version.source, version.tags)
            for version in asked.search_model_versions()
        },
        "aliases": {
            found.name: {alias: int(version) for alias, version in found.aliases.items()}
            for found in asked.search_registered_models()
        },
    }


def content(path: str) -> str:
    return hashlib.sha256(Path(path.removeprefix("file://")).read_bytes()).hexdigest()


def test_a_model_is_a_run_and_a_version_of_its_segments_models(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    [published] = publish_models(lake, {MAY: 1})
    page = tracking.record_model(lake, published)
    asked = client(folder)
    [experiment] = [found for found in asked.search_experiments() if found.name == "toy"]
    [run] = asked.search_runs([experiment.experiment_id])
    assert page == (
        f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
        "?workflowType=machine_learning"
    )
    record = model(1).record
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in record.parameters.items()}
    assert run.data.metrics == {
        "training_rows": record.rows,
        "training_positives": record.positives,
    }
    expected = {
        "lake/commit": published.commit,
        "lake/pin": published.pin,
        "lake/partition": "month=2013-05/origin=JFK",
        "lake/data_version": published.manifest.data_version,
        "sha256": published.manifest.files[0].sha256,
        "month": "2013-05",
        "origin": "JFK",
        "code_version": "a-code-version",
        "dagster/run_id": "a-run",
        "environment/requirements.lock": "sha256:00",
    }
    assert expected.items() <= run.data.tags.items()
    version = asked.get_model_version("toy.JFK", "1")
    assert version.run_id == run.info.run_id
    assert content(f"{version.source}/data/model.ubj") == published.manifest.files[0].sha256


def test_no_variable_of_mlflows_sends_a_model_elsewhere(
    lake: Lake, tracking: Tracking, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    with monkeypatch.context() as hostile:
        hostile.setenv("MLFLOW_TRACKING_URI", elsewhere)
        hostile.setenv("MLFLOW_REGISTRY_URI", elsewhere)
        hostile.setenv("MLFLOW_EXPERIMENT_NAME", "another")
        hostile.setenv("MLFLOW_EXPERIMENT_ID", "0")
        hostile.setenv("MLFLOW_RUN_ID", "0" * 32)
        [published] = publish_models(lake, {MAY: 1})
        tracking.record_model(lake, published)
    assert list(shown(folder)["versions"]) == [("toy.JFK", 1)]
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_report_is_written_into_the_run_of_the_model_that_it_judged(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    publish_models(lake, {MAY: 1})
    [report] = publish_reports(lake, {MAY: 1})
    publish_models(lake, {MAY: 2})
    page = tracking.record_report(lake, report)
    [(run_id, (_, _, metrics, tags))] = shown(folder)["runs"].items()
    assert f"/runs/{run_id}?" in str(page)
    assert tags["sha256"] == pin("2013-05", 1).sha256
    found = evaluation(1)
    assert metrics["roc_auc"] == found.model.roc_auc
    assert metrics["baseline_brier"] == found.baseline.brier
    assert metrics["brier_skill"] == found.brier_skill
    assert found.recalibration is not None
    assert metrics["calibration_slope"] == found.recalibration.slope
    assert tags["gate/brier_skill"].startswith("passed: The Brier skill")
    assert tags["gate/calibration_slope"].startswith("failed: The calibration slope")
    at = client(folder).download_artifacts(run_id, "report.html")
    assert Path(at).read_text() == f"<p>the report of {MAY}</p>"


def test_a_report_that_is_made_anew_replaces_what_the_run_shows(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    publish_models(lake, {MAY: 1})
    [first] = publish_reports(lake, {MAY: 1})
    tracking.record_report(lake, first)
    [second] = publish_reports(lake, {MAY: 1}, page="<p>a better one</p>")
    tracking.record_report(lake, second)
    [run_id] = shown(folder)["runs"]
    at = client(folder).download_artifacts(run_id, "report.html")
    assert Path(at).read_text() == "<p>a better one</p>"


def test_writing_again_changes_nothing(lake: Lake, tracking: Tracking, folder: Path) -> None:
    [first] = publish_models(lake, {MAY: 1})
    [report] = publish_reports(lake, {MAY: 1})
    champion = publish_champion(lake, MAY, pin("2013-05", 1))
    tracking.record_model(lake, first)
    tracking.record_report(lake, report)
    tracking.record_champion(lake, champion)
    before = shown(folder)
    again = Tracking(Registry(None, folder))
    again.record_champion(lake, champion)
    again.record_report(lake, report)
    again.record_model(lake, first)
    assert shown(folder) == before
    assert not again.fill_in(lake)


def test_another_model_of_a_partition_is_another_version(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    for seed in (1, 2):
        [published] = publish_models(lake, {MAY: seed})
        tracking.record_model(lake, published)
    versions = shown(folder)["versions"]
    assert [tags["sha256"] for _, _, tags in versions.values()] == [
        pin("2013-05", seed).sha256 for seed in (2, 1)
    ]


def test_the_alias_follows_the_newest_month_of_the_segment(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    for published in publish_models(lake, {MAY: 1, JUNE: 2, JULY: 3}):
        tracking.record_model(lake, published)
    newest = publish_champion(lake, JULY, pin("2013-06", 2))
    page = tracking.record_champion(lake, newest)
    assert str(page).startswith("http://127.0.0.1:5000/#/models/toy.JFK?")
    older = publish_champion(lake, MAY, pin("2013-05", 1))
    tracking.record_champion(lake, older)
    assert shown(folder)["aliases"] == {"toy.JFK": {"champion": 2}}
    none = publish_champion(lake, JULY, None)
    tracking.record_champion(lake, none)
    assert shown(folder)["aliases"] == {"toy.JFK": {}}


def test_a_champion_that_was_trained_over_is_written_as_it_was(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    publish_models(lake, {MAY: 1})
    publish_models(lake, {MAY: 2})
    tracking.record_champion(lake, publish_champion(lake, JUNE, pin("2013-05", 1)))
    found = tracking.version("toy.JFK", 1)
    assert found.model == pin("2013-05", 1)
    assert shown(folder)["aliases"] == {"toy.JFK": {"champion": 1}}


def test_another_base_branch_moves_no_alias(lake: Lake, tracking: Tracking, folder: Path) -> None:
    tracking.record_model(lake, *publish_models(lake, {MAY: 1}))
    lake.repo().branch("experiment").create(lake.head())
    aside = Lake(
        lake.credentials,
        repository=lake.repository,
        base_branch="experiment",
        scratch=lake.scratch,
    )
    decided = publish_champion(aside, MAY, pin("2013-05", 1))
    assert tracking.record_champion(aside, decided) is None
    assert not tracking.fill_in(aside)
    assert shown(folder)["aliases"] == {"toy.JFK": {}}


@pytest.fixture
def year(lake: Lake) -> Lake:
    """A lake with two segments' models, reports and champions, one without a champion."""
    places = {partition(month, origin): 1 for month in ("2013-05", "2013-06") for origin in "AB"}
    publish_models(lake, places)
    publish_reports(lake, places)
    publish_champion(lake, partition("2013-06", "A"), pin("2013-05", 1, "A"))
    publish_champion(lake, partition("2013-06", "B"), None)
    return lake


def test_what_is_missing_is_filled_in_and_then_nothing_is(
    year: Lake, tracking: Tracking, folder: Path
) -> None:
    filled = tracking.fill_in(year)
    assert (len(filled.models), len(filled.reports)) == (4, 4)
    assert filled.champions == (("toy", "A"),)
    assert not tracking.fill_in(year)
    found = shown(folder)
    assert len(found["runs"]) == 4
    assert len(found["versions"]) == 4
    assert found["aliases"] == {"toy.A": {"champion": 1}, "toy.B": {}}


def test_what_is_missing_takes_the_same_few_searches_for_any_number_of_models(
    year: Lake, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.fill_in(year)
    asked = []
    for name in dir(MlflowClient):
        if not name.startswith("_"):
            monkeypatch.setattr(MlflowClient, name, _counted(name, asked))
    assert not tracking.fill_in(year)
    assert sorted(asked) == ["search_model_versions", "search_registered_models", "search_runs"]


def _counted(name: str, asked: list[str]) -> Callable[..., Any]:
    real = getattr(MlflowClient, name)

    def call(*arguments: Any, **named: Any) -> Any:
        asked.append(name)
        return real(*arguments, **named)

    return call


def spoil_runs(asked: MlflowClient) -> None:
    for run in asked.search_runs([asked.get_experiment_by_name("toy").experiment_id]):
        asked.delete_run(run.info.run_id)


def spoil_models(asked: MlflowClient) -> None:
    asked.delete_registered_model("toy.A")


def spoil_alias(asked: MlflowClient) -> None:
    asked.set_registered_model_alias("toy.A", "champion", "2")


def invent_alias(asked: MlflowClient) -> None:
    asked.set_registered_model_alias("toy.B", "champion", "1")


@pytest.mark.parametrize("spoil", [spoil_runs, spoil_models, spoil_alias, invent_alias])
def test_what_somebody_removed_or_moved_is_put_back(
    year: Lake, tracking: Tracking, folder: Path, spoil: Callable[[MlflowClient], None]
) -> None:
    tracking.fill_in(year)
    spoil(client(folder))
    again = Tracking(Registry(None, folder))
    assert len(again.fill_in(year))
    assert not again.fill_in(year)
    champion = client(folder).get_model_version_by_alias("toy.A", "champion")
    assert champion.tags["sha256"] == pin("2013-05", 1, "A").sha256
    assert champion.tags["lake/partition"] == "month=2013-05/origin=A"
    assert shown(folder)["aliases"]["toy.B"] == {}


def test_an_experiment_that_somebody_deleted_comes_back_with_its_runs(
    lake: Lake, tracking: Tracking, folder: Path
) -> None:
    [published] = publish_models(lake, {MAY: 1})
    page = tracking.record_model(lake, published)
    asked = client(folder)
    asked.delete_experiment(asked.get_experiment_by_name("toy").experiment_id)
    assert Tracking(Registry(None, folder)).record_model(lake, published) == page


def test_a_run_that_a_killed_process_left_is_replaced(
    lake: Lake, tracking: Tracking, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [published] = publish_models(lake, {MAY: 1})
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_outputs", _killed)
        with pytest.raises(KeyboardInterrupt):
            tracking.record_model(lake, published)
    assert [status for status, *_ in shown(folder)["runs"].values()] == ["RUNNING"]
    Tracking(Registry(None, folder)).record_model(lake, published)
    assert [status for status, *_ in shown(folder)["runs"].values()] == ["FINISHED"]
    assert len(shown(folder)["versions"]) == 1
    experiment = client(folder).get_experiment_by_name("toy").experiment_id
    assert len(client(folder).search_logged_models([experiment])) == 1


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_version_is_named_as_the_lake_names_it(lake: Lake, tracking: Tracking) -> None:
    [published] = publish_models(lake, {MAY: 1})
    tracking.record_model(lake, published)
    found = tracking.version("toy.JFK", 1)
    assert (found.commit, found.model) == (published.commit, pin("2013-05", 1))
    with pytest.raises(TrackingError, match=r"has no toy\.JFK@2; .* these versions: 1\.$"):
        tracking.version("toy.JFK", 2)
    with pytest.raises(TrackingError, match=r"versions: none\.$"):
        tracking.version("toy.LGA", 1)


def test_a_lake_without_models_asks_nothing_of_mlflow(lake: Lake, tmp_path: Path) -> None:
    assert not Tracking(Registry(None, tmp_path / "never")).fill_in(lake)
    assert not (tmp_path / "never").exists()


def test_a_registry_that_was_moved_says_so(
    lake: Lake, tracking: Tracking, folder: Path, tmp_path: Path
) -> None:
    [published] = publish_models(lake, {MAY: 1})
    tracking.record_model(lake, published)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    with pytest.raises(TrackingError, match="was moved"):
        Tracking(Registry(None, Path(moved))).record_model(lake, published)


def test_mlflow_opens_the_champion_and_predicts_from_raw_columns(
    year: Lake, tracking: Tracking, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.fill_in(year)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.registry.address)
    opened = mlflow.pyfunc.load_model("models:/toy.A@champion")
    frame = rows(1).to_pandas()
    assert {str(kind) for kind in frame.dtypes} == {"int64", "object", "float64", "bool"}
    np.testing.assert_array_equal(opened.predict(frame), model(1).predict(rows(1)))
    assert [column.name for column in opened.metadata.signature.inputs] == [
        feature.name for feature in model(1).record.features
    ]
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        opened.predict(frame.drop(columns="distance"))


def test_the_only_files_are_those_of_the_registry_and_none_is_a_pickle(
    year: Lake, tracking: Tracking, folder: Path
) -> None:
    tracking.fill_in(year)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {
        *("lock", "mlflow.db"),
        *("MLmodel", "model.ubj", "requirements.txt", "conda.yaml", "python_env.yaml"),
        "report.html",
    }
    for artefact in folder.rglob("MLmodel"):
        assert "loader_module: mlops_assets.tracking.loader" in artefact.read_text()
        assert "cloudpickle" not in artefact.with_name("requirements.txt").read_text()


def test_the_tags_that_others_read_keep_their_names() -> None:
    assert (runs.COMMIT, runs.PARTITION, runs.SHA256) == ("lake/commit", "lake/partition", "sha256")
