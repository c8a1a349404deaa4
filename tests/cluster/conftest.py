"""A stand-in with two GPUs, and deployments on it that record in SQLite and in Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, page  # noqa: F401 - fixtures
from deployment import Deployment, deployed
from postgres_server import PASSWORD, USER, postgres
from stand_in_kubernetes import StandIn, cpu_node, gpu_node


@pytest.fixture(scope="module")
def cluster() -> Iterator[StandIn]:
    nodes = [cpu_node("cpu-0"), gpu_node("gpu-0"), gpu_node("gpu-1")]
    with StandIn(nodes=nodes, namespaces=["mlops-assets"]) as made:
        yield made


def sqlite(home: Path) -> dict[str, Any]:
    log = {
        "module": "mlops_assets.compute.event_log",
        "class": "PooledSqliteEventLogStorage",
        "config": {"dagster_home": str(home)},
    }
    return {"event_log_storage": log}


def in_postgres(port: int) -> dict[str, Any]:
    place = {
        "username": USER,
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": "127.0.0.1",
        "db_name": "postgres",
        "port": port,
        "scheme": "postgresql+psycopg2",
    }
    return {"storage": {"postgres": {"postgres_db": place}}}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def deployment(
    request: pytest.FixtureRequest, cluster: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("deployment") / "home"
    home.mkdir()
    if request.param == "sqlite":
        with deployed(home, cluster, sqlite(home)) as made:
            yield made
        return
    with (
        postgres() as port,
        deployed(home, cluster, in_postgres(port), DAGSTER_PG_PASSWORD=PASSWORD) as made,
    ):
        yield made
