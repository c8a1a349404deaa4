"""The way to a registry: an outage is a sentence, two writers are one, and nothing is chatty."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_results import (
    partition,
    pin,
    publish_champion,
    publish_models,
    publish_reports,
)
from mlflow import MlflowClient

from mlops_assets.cli.lake_checks import projection
from mlops_assets.lake import Lake
from mlops_assets.lakefs_server import Endpoint
from mlops_assets.tracking.connection import Registry, TrackingError
from mlops_assets.tracking.projection import Tracking

MAY, JUNE = partition("2013-05"), partition("2013-06")


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address, with a password, at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://somebody:secret@127.0.0.1:{taken.getsockname()[1]}"


def test_a_registry_that_is_down_is_one_sentence_with_the_way_out(
    lake: Lake, nobody: str, tmp_path: Path
) -> None:
    [published] = publish_models(lake, {MAY: 1})
    head = lake.head()
    with pytest.raises(TrackingError) as told:
        Tracking(Registry(nobody, tmp_path)).record_model(lake, published)
    assert str(told.value) == (
        f"MLflow at http://127.0.0.1:{nobody.rpartition(':')[2]} did not take what the lake holds "
        "([Errno 111] Connection refused); the lake is whole: put that right or correct "
        "MLFLOW_TRACKING_URI, then run `mlops-assets doctor`, which fills in what MLflow lacks."
    )
    assert "secret" not in "".join(traceback.format_exception(told.value))
    assert lake.head() == head


def test_a_registry_that_is_down_is_not_asked_again_for_each_result(
    lake: Lake, nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(Registry(nobody, tmp_path))
    first, second = publish_models(lake, {MAY: 1, JUNE: 2})
    with pytest.raises(TrackingError) as told:
        tracking.record_model(lake, first)
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", None)
    with pytest.raises(TrackingError) as again:
        tracking.record_model(lake, second)
    assert str(again.value) == str(told.value)


@pytest.mark.parametrize("address", ["no-such-scheme://host", "sqlite:///{file}/mlflow.db"])
def test_an_address_that_cannot_be_used_is_told_the_same_way(
    lake: Lake, address: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    registry = Registry(address.format(file=tmp_path / "file"), tmp_path)
    [published] = publish_models(lake, {MAY: 1})
    with pytest.raises(TrackingError, match="correct MLFLOW_TRACKING_URI"):
        Tracking(registry).record_model(lake, published)


def test_doctor_fills_in_what_is_missing_and_says_so(lake: Lake, tracking: Tracking) -> None:
    publish_models(lake, {MAY: 1, JUNE: 2})
    publish_champion(lake, JUNE, pin("2013-05", 1))
    filled, again = projection(lake, tracking), projection(lake, tracking)
    assert filled.ok
    assert "lacked 2 models, 0 reports and 1 champions of main: written." in filled.sentence
    assert again.ok
    assert "lacks nothing of main." in again.sentence


def test_errors_of_the_lake_stay_the_lakes(lake: Lake, tracking: Tracking, tmp_path: Path) -> None:
    [report] = publish_reports(lake, {MAY: 1})
    with pytest.raises(Exception, match="toy/model month=2013-05/origin=JFK") as told:
        tracking.record_report(lake, report)
    assert not isinstance(told.value, TrackingError)


def test_two_processes_at_once_make_one_database_and_each_run_once(
    lake: Lake, endpoint: Endpoint, tmp_path: Path
) -> None:
    places = {partition(month, origin): 1 for month in ("2013-05", "2013-06") for origin in "AB"}
    publish_models(lake, places)
    publish_reports(lake, places)
    publish_champion(lake, partition("2013-06", "A"), pin("2013-05", 1, "A"))
    folder, elsewhere = tmp_path / "mlflow", tmp_path / "cwd"
    elsewhere.mkdir()
    where = json.dumps({"endpoint": list(endpoint), "repository": lake.repository})
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("filler.py")), str(folder), where],
            cwd=elsewhere,
            env={**os.environ, "HOME": str(elsewhere)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    printed = [process.communicate("go\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert printed == [("", ""), ("", "")]
    assert list(elsewhere.iterdir()) == []
    asked = MlflowClient(Registry(None, folder).address)
    experiment = asked.get_experiment_by_name("toy")
    assert experiment is not None
    found = asked.search_runs([experiment.experiment_id])
    assert Counter(run.data.tags["lake/partition"] for run in found) == {
        place.path: 1 for place in places
    }
    versions = asked.search_model_versions()
    assert Counter(version.run_id for version in versions) == {run.info.run_id: 1 for run in found}
    assert {run.info.status for run in found} == {"FINISHED"}
    assert not Tracking(Registry(None, folder)).fill_in(lake)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server in a thread of this process, which has loaded most of it."""
    import uvicorn

    home = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{home / 'mlflow.db'}")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(home / "artifacts"))
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        from mlflow.server.fastapi_app import app

        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            served = uvicorn.Server(uvicorn.Config(app, log_level="error"))
            thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
            thread.start()
            yield f"127.0.0.1:{listening.getsockname()[1]}"
            served.should_exit = True
            thread.join()


def test_a_server_gets_what_a_database_gets_and_no_password_is_shown(
    lake: Lake, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    [model] = publish_models(lake, {MAY: 1})
    [report] = publish_reports(lake, {MAY: 1})
    champion = publish_champion(lake, MAY, pin("2013-05", 1))
    tracking = Tracking(Registry(f"http://somebody:secret@{server}", tmp_path / "mlflow"))
    page = tracking.record_model(lake, model)
    capfd.readouterr()
    assert tracking.record_report(lake, report) == page
    assert str(page).startswith(f"http://{server}/#/experiments/")
    moved = tracking.record_champion(lake, champion)
    assert str(moved).startswith(f"http://{server}/#/models/toy.JFK?")
    assert not tracking.fill_in(lake)
    asked = MlflowClient(f"http://{server}")
    version = asked.get_model_version_by_alias("toy.JFK", "champion")
    assert version.tags["sha256"] == pin("2013-05", 1).sha256
    at = asked.download_artifacts(version.run_id, "report.html", str(tmp_path))
    assert Path(at).read_text() == f"<p>the report of {MAY}</p>"
    assert capfd.readouterr().out == ""
    assert [path.name for path in (tmp_path / "mlflow").iterdir()] == ["lock"]
