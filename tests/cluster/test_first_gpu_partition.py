"""The repository's own models are trained in pods with a GPU, as docs/deploy.md has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import configured
from deployment import DEFINITIONS, Deployment, deployed
from made_up_month import MONTH, ORIGIN, publish_training_set
from postgres_server import postgres
from served_lake import served
from stand_in_kubernetes import StandIn

from mlops_assets.cli.lakefs import create_key
from mlops_assets.defs.resources import connect
from mlops_assets.settings import ROOT, settings

pytestmark = pytest.mark.timeout(900)

MODEL = f"flight_delay/model:{MONTH}|{ORIGIN}"


@pytest.fixture
def repository(cluster: StandIn, tmp_path: Path) -> Iterator[Deployment]:
    """This repository, deployed beside a lake of its own with a month to train on."""
    lake_home, home = tmp_path / "lake", tmp_path / "home"
    home.mkdir()
    with configured(MLOPS_HOME=lake_home):
        key = create_key()
    secrets = {
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": key.access_key_id,
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": key.secret_access_key,
    }
    with (
        postgres() as port,
        served(lake_home) as (lake_port, _),
        deployed(
            home,
            cluster,
            port,
            DEFINITIONS,
            secrets,
            LAKECTL_SERVER_ENDPOINT_URL=f"http://127.0.0.1:{lake_port}",
            MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db",
            # The deployment's own profiles, not the tests'.
            MLOPS_PROFILES=str(ROOT / "infra/k8s/base/profiles.yaml"),
        ) as made,
    ):
        with configured(**made.environment), made.instance() as instance:
            lake = connect(settings())
            lake.create()
            month: Any = SimpleNamespace(lake=lake, instance=instance)
            publish_training_set(month, tmp_path / "made")
        yield made


def test_a_model_is_trained_in_a_pod_with_its_gpu(repository: Deployment) -> None:
    ended = repository.command(
        "backfill", "flight_delay/model", "--partitions", f"{MONTH}|{ORIGIN}", "--json"
    )
    assert ended.code == 0, ended.err
    [pod] = repository.cluster.find("pods")
    assert pod["spec"]["nodeName"].startswith("gpu-")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["metadata"]["labels"]["mlops-assets/problem"] == "flight_delay"

    made = repository.command("lineage", MODEL, "--json")
    assert made.code == 0, made.err
    assert pod["metadata"]["labels"]["dagster/run-id"] in made.out
