"""A stand-in with two GPUs, and a deployment on it that records in Postgres, as the manifests have
it; in `make soak` one in SQLite too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import chromium, page  # noqa: F401 - fixtures
from deployment import Deployment, deployed
from postgres_server import postgres
from stand_in_kubernetes import StandIn, cpu_node, gpu_node


def two_gpus() -> StandIn:
    return StandIn([cpu_node("cpu-0"), gpu_node("gpu-0"), gpu_node("gpu-1")])


@pytest.fixture
def cluster() -> Iterator[StandIn]:
    with two_gpus() as made:
        yield made


@pytest.fixture(scope="module", params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgres"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("deployment") / "home"
    home.mkdir()
    if request.param == "sqlite":
        with two_gpus() as cluster, deployed(home, cluster, None) as made:
            yield made
        return
    with two_gpus() as cluster, postgres() as port, deployed(home, cluster, port) as made:
        yield made
