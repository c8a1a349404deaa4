"""What a model or a report in MLflow names stays in the lake, whichever branch is dropped."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from installation import open_lake
from lake_results import model, partition, publish_models, publish_reports

from mlops_assets.cli.lineage import Now, lineage_of
from mlops_assets.cli.names import Result
from mlops_assets.components.retention import Places, sweep_all
from mlops_assets.lake import Lake, LakeError, Snapshot, branches
from mlops_assets.lakefs_server import EmbeddedServer
from mlops_assets.ml.model import Model
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.pins import pinned_commits
from mlops_assets.tracking.projection import Tracking
from mlops_assets.tracking.results import MODEL_FILE

MONTH = partition("2013-04")


@pytest.fixture
def places(tmp_path: Path, folder: Path) -> Places:
    store = tmp_path / "lakefs"
    with EmbeddedServer(store) as endpoint:
        lake = open_lake(endpoint, tmp_path / "scratch")
        yield Places(lake, store, [Registry(None, folder)], tmp_path / "logs")


def aged(places: Places) -> None:
    """Make every blob a month old."""
    then = time.time() - 30 * 24 * 3600
    for file in (places.store / "blobs").rglob("*"):
        os.utime(file, (then, then))


def test_a_model_whose_branch_was_dropped_still_loads_and_tells_what_made_it(
    places: Places, tracking: Tracking
) -> None:
    branches.create(places.lake, "experiment", "main")
    lake = places.lake.on_branch("experiment")
    [older] = publish_models(lake, {MONTH: 1})
    [kept] = publish_models(lake, {MONTH: 2})
    tracking.record_model(lake, kept)
    [later] = publish_models(lake, {MONTH: 3})
    branches.drop(places.lake, "experiment", discard=True)
    aged(places)

    swept = sweep_all(places)

    assert swept.pins == 2
    assert swept.store.commits > 0
    assert Model.from_ubj(Snapshot(lake, kept.commit).read(kept.key, MODEL_FILE)).record
    assert Snapshot(lake, older.commit).read(older.key, MODEL_FILE) == model(1).to_ubj()
    told = lineage_of(
        lake, Result("kept", kept.commit, kept.pin, (kept.key,)), Now({}, {})
    ).to_json()
    assert (told["commit"], told["run_id"]) == (kept.commit, "a-run")
    assert told["results"][0]["files"][0]["sha256"] == kept.manifest.files[0].sha256
    with pytest.raises(LakeError):
        lake.commit_info(later.commit)


def test_a_report_names_its_commit_as_a_model_does(lake: Lake, tracking: Tracking) -> None:
    [made] = publish_models(lake, {MONTH: 1})
    [report] = publish_reports(lake, {MONTH: 1})
    tracking.record_report(lake, report)

    assert pinned_commits([tracking.registry]) == {made.commit, made.pin, report.commit}


def test_a_run_in_mlflows_bin_still_names_its_commit(lake: Lake, tracking: Tracking) -> None:
    [made] = publish_models(lake, {MONTH: 1})
    tracking.record_model(lake, made)
    with tracking.registry.opened() as client:
        [run] = client.search_runs([tracking.registry.experiment("toy")])
        client.delete_run(run.info.run_id)
        for version in client.search_model_versions():
            client.delete_model_version(version.name, version.version)

    assert made.commit in pinned_commits([tracking.registry])


def test_a_registry_that_nobody_made_yet_names_nothing_and_is_not_made(tmp_path: Path) -> None:
    assert pinned_commits([Registry(None, tmp_path / "mlflow")]) == set()
    assert not (tmp_path / "mlflow").exists()


def test_nothing_goes_while_mlflow_does_not_answer(places: Places, tmp_path: Path) -> None:
    branches.create(places.lake, "experiment", "main")
    [made] = publish_models(places.lake.on_branch("experiment"), {MONTH: 1})
    branches.drop(places.lake, "experiment", discard=True)
    aged(places)
    down = Places(
        places.lake, places.store, [Registry("http://127.0.0.1:9", tmp_path / "r")], places.logs
    )

    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        sweep_all(down)

    assert places.lake.commit_info(made.commit)["id"] == made.commit
