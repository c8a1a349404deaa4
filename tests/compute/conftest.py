"""An instance whose queue and launcher are ours, with runs that nobody carries out; the databases
that Dagster records in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_homes import Homes
from instance_on_this_machine import NO_CLUSTER
from postgres_server import server
from queued_runs import LOCAL_QUEUE, Launcher, Queue, RecordedApi

from bench.postgres_server import PostgresServer
from mlops_assets.compute.run_launcher import ProfiledK8sRunLauncher


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(LOCAL_QUEUE)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield Queue(instance)


@pytest.fixture
def api() -> RecordedApi:
    return RecordedApi()


@pytest.fixture
def launcher(
    queue: Queue, api: RecordedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Launcher]:
    # The tests look at the Jobs themselves.
    monkeypatch.setattr("mlops_assets.compute.job_watch.LOOK_SECONDS", 3600)
    path = tmp_path / "kubeconfig"
    path.write_text(NO_CLUSTER)
    made: list[ProfiledK8sRunLauncher] = []

    def make(**config: Any) -> ProfiledK8sRunLauncher:
        found = ProfiledK8sRunLauncher(
            service_account_name="dagster-run",
            instance_config_map="dagster-instance",
            dagster_home="/opt/dagster",
            job_image="mlops-assets:1",
            load_incluster_config=False,
            kubeconfig_file=str(path),
            k8s_client_batch_api=api,
            k8s_client_core_api=api,
            job_namespace="mlops",
            **config,
        )
        found.register_instance(queue.instance)
        made.append(found)
        return found

    yield make
    for found in made:
        found.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with server() as running:
        yield running


@pytest.fixture
def in_postgres(tmp_path: Path, postgres: PostgresServer) -> Homes:
    return Homes(tmp_path, postgres)


@pytest.fixture(params=["sqlite", "postgres"])
def homes(request: pytest.FixtureRequest, tmp_path: Path) -> Homes:
    if request.param == "sqlite":
        return Homes(tmp_path)
    found: Homes = request.getfixturevalue("in_postgres")
    return found
