"""The Dagster instance of `infra/k8s`, on a Postgres and a Kubernetes of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from kubernetes_manifests import NAMESPACE, config_file, named, overlay
from postgres_server import PASSWORD, USER

from mlops_assets.settings import ROOT

LOCAL = (ROOT / "infra" / "dagster.yaml").read_text()
NO_CLUSTER = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {token: none}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""
"""A kubeconfig that leads nowhere, for tests that launch nothing."""

STORAGES = ("run_storage", "event_log_storage", "schedule_storage")


def write_instance(home: Path, port: int, kubeconfig: Path) -> None:
    """Write the deployment's `dagster.yaml`, changed in what lies elsewhere here.

    Args:
        home: Dagster's home, of the servers and of runs.
        port: Of Postgres, on 127.0.0.1.
        kubeconfig: Names the Kubernetes that runs are launched on, and as whom.
    """
    document = yaml.safe_load(config_file(overlay("gpu"), "dagster-instance", "dagster.yaml"))
    moved = on_this_machine(document, home, kubeconfig, port)
    (home / "dagster.yaml").write_text(yaml.safe_dump(moved))


def on_this_machine(
    document: dict[str, Any], home: Path, kubeconfig: Path, port: int | None
) -> dict[str, Any]:
    """The deployment's configuration, changed in what lies elsewhere here.

    Args:
        document: The content of its `dagster.yaml`.
        home: Dagster's home, of the servers and of runs.
        kubeconfig: Names the Kubernetes that runs are launched on, and as whom.
        port: Of Postgres, on 127.0.0.1; None to record in SQLite.
    """
    if port is None:
        document = {name: value for name, value in document.items() if name not in STORAGES}
        document["event_log_storage"] = yaml.safe_load(LOCAL)["event_log_storage"]
    else:
        place = {"hostname": "127.0.0.1", "port": port, "username": USER, "db_name": "postgres"}
        for storage in STORAGES:
            config = document[storage]["config"]
            config["postgres_db"] = {**config["postgres_db"], **place}
    document["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
        "job_image": "mlops-assets:0.1.0",
        "dagster_home": str(home),
    }
    return document


def instance_environment(home: Path) -> dict[str, str]:
    """What the pods of the servers find in their environment for it."""
    settings = named(overlay("gpu"), "ConfigMap", "mlops-assets")["data"]
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_PASSWORD": PASSWORD,
        "RUN_NAMESPACE": NAMESPACE,
        "LAKEFS_BRANCH": settings["LAKEFS_BRANCH"],
    }
