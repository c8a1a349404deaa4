"""The manifests of `infra/k8s`, as `kubectl kustomize` renders them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from required import program

from mlops_assets.settings import ROOT

Manifest = dict[str, Any]

KUBERNETES = ROOT / "infra" / "k8s"
OVERLAYS = ("cpu", "gpu", "kueue", "local")
WORKLOADS = ("Deployment", "StatefulSet")
NAMESPACE = "mlops-assets"
OLDEST = (1, 27)
"""The `kubectl` that brought kustomize 5; Debian's 1.20 brings 2, which knows no components."""


@cache
def kubectl() -> str:
    """Where it is; the test is skipped where there is none, or one that is too old."""
    found = program("kubectl", "kubernetes-client")
    asked = [found, "version", "--client", "--output=json"]
    told = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    version = re.findall(r"\d+", told["clientVersion"]["gitVersion"])
    if tuple(map(int, version[:2])) < OLDEST:
        pytest.skip(f"`kubectl` is {'.'.join(version[:2])}; the manifests need 1.27 or newer.")
    return found


@cache
def render(folder: Path) -> list[Manifest]:
    """What a kustomization says."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def overlay(name: str) -> list[Manifest]:
    return render(KUBERNETES / "overlays" / name)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod templates of what runs for good, by its name."""
    return {
        workload["metadata"]["name"]: workload["spec"]["template"]
        for workload in of_kind(manifests, *WORKLOADS)
    }


def containers(pod: Mapping[str, Any]) -> Iterator[Manifest]:
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


def config_file(manifests: list[Manifest], config_map: str, name: str) -> str:
    """A file of a generated ConfigMap, whose name may carry a digest of its content."""
    [found] = [
        one["data"]
        for one in of_kind(manifests, "ConfigMap")
        if one["metadata"]["name"] == config_map
        or one["metadata"]["name"].rpartition("-")[0] == config_map
    ]
    content: str = found[name]
    return content
