"""The Dagster instance of `infra/k8s`, on a Postgres and a Kubernetes of the test."""

from __future__ import annotations

from pathlib import Path

import yaml
from kubernetes_manifests import NAMESPACE, config_file, named, overlay
from postgres_server import PASSWORD, USER

STORAGES = ("run_storage", "event_log_storage", "schedule_storage")


def write_instance(home: Path, port: int, kubeconfig: Path) -> None:
    """Write the deployment's `dagster.yaml`, changed in what lies elsewhere here.

    Args:
        home: Dagster's home, of the servers and of runs.
        port: Of Postgres, on 127.0.0.1.
        kubeconfig: Names the Kubernetes that runs are launched on, and as whom.
    """
    document = yaml.safe_load(config_file(overlay("gpu"), "dagster-instance", "dagster.yaml"))
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
    (home / "dagster.yaml").write_text(yaml.safe_dump(document))


def instance_environment(home: Path) -> dict[str, str]:
    """What the pods of the servers find in their environment for it."""
    settings = named(overlay("gpu"), "ConfigMap", "mlops-assets")["data"]
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_PASSWORD": PASSWORD,
        "RUN_NAMESPACE": NAMESPACE,
        "LAKEFS_BRANCH": settings["LAKEFS_BRANCH"],
    }
