"""The smallest manifests of pods and Jobs, for tests of the stand-in itself."""

from __future__ import annotations

from typing import Any

GPU = "nvidia.com/gpu"
TOLERATIONS = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]


def pod_spec(script: str, gpus: int = 0, **container: Any) -> dict[str, Any]:
    """The spec of a pod that runs a shell script, with so many GPUs."""
    resources = {"resources": {"limits": {GPU: str(gpus)}}} if gpus else {}
    told = {"name": "main", "image": "none", "args": ["sh", "-c", script], **resources}
    spec = {"restartPolicy": "Never", "containers": [{**told, **container}]}
    return {**spec, "tolerations": TOLERATIONS} if gpus else spec


def pod(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {**spec, **more},
    }


def job(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Job of one pod that is not tried again."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}, **more},
    }
