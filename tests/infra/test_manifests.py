"""Every overlay is what Kubernetes takes, and what it says of images, GPUs and sizes agrees."""

import json
import shutil
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity
from kubernetes_manifests import (
    KUBERNETES,
    OVERLAYS,
    config_file,
    containers,
    named,
    of_kind,
    overlay,
    pods,
    render,
)
from packaging.version import Version

from mlops_assets.compute.clusters import ClusterKind
from mlops_assets.compute.placement import place
from mlops_assets.compute.profiles import Profiles
from mlops_assets.compute.resolver import DEVICE_TAG

NEWEST = sorted(
    {".".join(v.split(".")[:2]) for v in kubernetes_validate.utils.all_versions()}, key=Version
)[-2:]
KUEUE = "kueue.x-k8s.io/v1beta2"
KUEUE_FIELDS = {
    "ClusterQueue": {"namespaceSelector", "queueingStrategy", "resourceGroups"},
    "LocalQueue": {"clusterQueue"},
    "ResourceFlavor": {"nodeLabels", "nodeTaints"},
}
GPU = "nvidia.com/gpu"
WAITING = 2
"""How many pods wait for a device while all are taken, so that none lies idle."""


@pytest.fixture(params=OVERLAYS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.mark.parametrize("version", NEWEST)
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    for manifest in overlay(name):
        if manifest["apiVersion"] == KUEUE:
            # Of a CustomResourceDefinition, whose schema is in the cluster that has Kueue.
            assert set(manifest.get("spec", {})) <= KUEUE_FIELDS[manifest["kind"]]
        else:
            validate(json.dumps(manifest), version)


@cache
def validate(manifest: str, version: str) -> None:
    """Hold a manifest, most of which are the same in every overlay, to a version's schema."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    manifest = {"apiVersion": "v1", "kind": "Service", "spec": {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(json.dumps(manifest), NEWEST[-1])


def test_a_bucket_takes_the_place_of_the_lakes_volume(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(KUBERNETES, tmp_path / "k8s") / "overlays" / name
    written = (folder / "kustomization.yaml").read_text()
    more = "\ncomponents:\n  - ../../components/object-store\n"
    (folder / "kustomization.yaml").write_text(written + more)
    manifests = render(folder)
    for manifest in manifests:
        if manifest["apiVersion"] != KUEUE:
            validate(json.dumps(manifest), NEWEST[-1])
    claims = {claim["metadata"]["name"] for claim in of_kind(manifests, "PersistentVolumeClaim")}
    assert claims == {"mlflow", "toolbox"}
    [container] = pods(manifests)["lakefs"]["spec"]["containers"]
    variables = {variable["name"] for variable in container["env"]}
    place = "LAKEFS_BLOCKSTORE_DEFAULT_NAMESPACE_PREFIX"
    assert not variables & {"LAKEFS_BLOCKSTORE_TYPE", "LAKEFS_BLOCKSTORE_LOCAL_PATH", place}
    assert config_file(manifests, "lakefs-bucket", place).startswith("s3://")
    assert "/var/lib/lakefs" not in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert "s3" in config_file(manifests, "lakefs-bucket", "LAKEFS_BLOCKSTORE_TYPE")


def test_one_line_names_the_image_of_servers_and_runs(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(KUBERNETES, tmp_path / "k8s") / "overlays" / name
    written = (folder / "kustomization.yaml").read_text()
    image = "registry.example.com/team/mlops-assets:7"
    where, _, tag = image.rpartition(":")
    (folder / "kustomization.yaml").write_text(
        f"{written}\nimages:\n  - name: mlops-assets\n    newName: {where}\n    newTag: '{tag}'\n"
    )
    found = pods(render(folder))
    ours = set(found) - {"postgres", "lakefs"}
    assert {c["image"] for pod in ours for c in containers(found[pod])} == {image}
    for pod in ("dagster-code", "toolbox"):
        [container] = containers(found[pod])
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert variables["DAGSTER_CURRENT_IMAGE"] == image


def test_images_are_pinned(name: str) -> None:
    for pod in pods(overlay(name)).values():
        for container in containers(pod):
            tag = container["image"].rpartition(":")[2]
            assert any(letter.isdigit() for letter in tag), container["image"]


def test_every_container_is_probed_and_has_requests_and_a_limit_of_memory(name: str) -> None:
    for pod_name, pod in pods(overlay(name)).items():
        for container in containers(pod):
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, pod_name
            asked, most = resources["requests"]["memory"], resources["limits"]["memory"]
            assert parse_quantity(asked) <= parse_quantity(most)
            # Nothing serves from the toolbox: people run commands there.
            if pod_name != "toolbox":
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


def test_every_service_leads_to_a_port_of_a_pod(name: str) -> None:
    manifests = overlay(name)
    for service in of_kind(manifests, "Service"):
        wanted = service["spec"]["selector"].items()
        [pod] = [p for p in pods(manifests).values() if wanted <= p["metadata"]["labels"].items()]
        ports = {port["name"] for c in containers(pod) for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_every_volume_that_is_mounted_exists(name: str) -> None:
    manifests = overlay(name)
    config_maps = {one["metadata"]["name"] for one in of_kind(manifests, "ConfigMap")}
    claims = {one["metadata"]["name"] for one in of_kind(manifests, "PersistentVolumeClaim")}
    templates = {
        template["metadata"]["name"]
        for workload in of_kind(manifests, "StatefulSet")
        for template in workload["spec"]["volumeClaimTemplates"]
    }
    for pod in pods(manifests).values():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for volume in volumes.values():
            assert volume.get("configMap", {}).get("name") in {None, *config_maps}
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {None, *claims}
        for container in containers(pod):
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in {*volumes, *templates}
            for source in container.get("envFrom", []):
                assert source.get("configMapRef", {}).get("name") in {None, *config_maps}


def profiles(name: str, folder: Path) -> Profiles:
    file = folder / "profiles.yaml"
    file.write_text(config_file(overlay(name), "profiles", "profiles.yaml"))
    return Profiles.load(file)


def test_the_profiles_have_the_names_that_assets_go_by(name: str, tmp_path: Path) -> None:
    found = profiles(name, tmp_path)
    assert set(found.profiles) == set(Profiles.load(KUBERNETES / "base/profiles.yaml").profiles)
    asked = {bool(place([profile], found).gpus) for profile in found.profiles}
    without = name in ("cpu", "local")
    assert (found.cluster == ClusterKind.CPU_ONLY) == without
    assert asked == ({False} if without else {False, True})


@pytest.mark.parametrize("name", ["gpu", "kueue"], indirect=True)
def test_the_quota_leaves_room_for_the_pods_that_the_queue_lets_wait(name: str) -> None:
    hard = named(overlay(name), "ResourceQuota", "gpus")["spec"]["hard"]
    document = yaml.safe_load(config_file(overlay(name), "dagster-instance", "dagster.yaml"))
    coordinator = document["run_coordinator"]["config"]
    limit = int(hard[f"requests.{GPU}"])
    assert coordinator["tag_concurrency_limits"] == [
        {"key": DEVICE_TAG, "value": "gpu", "limit": limit}
    ]
    assert coordinator["pools"] == {"gpu": limit}


def test_kueue_and_the_quota_cover_what_profiles_ask_for(tmp_path: Path) -> None:
    found = profiles("kueue", tmp_path)
    asked = {
        resource: max(
            parse_quantity(place([profile], found).amounts.get(resource, "0"))
            for profile in found.profiles
        )
        for profile in found.profiles
        for resource in place([profile], found).amounts
    }
    manifests = overlay("kueue")
    [group] = named(manifests, "ClusterQueue", "mlops-assets")["spec"]["resourceGroups"]
    assert set(asked) == set(group["coveredResources"])
    flavors = {
        flavor["name"]: {one["name"]: one["nominalQuota"] for one in flavor["resources"]}
        for flavor in group["flavors"]
    }
    for resource, amount in asked.items():
        assert parse_quantity(flavors["mlops-assets-gpu"][resource]) >= amount
    quota = named(manifests, "ResourceQuota", "gpus")["spec"]["hard"]
    devices = [resource for resource in asked if "/" in resource]
    for device in devices:
        assert flavors["mlops-assets-cpu"][device] == 0
        # Kueue starts no pod that would wait for a device.
        assert flavors["mlops-assets-gpu"][device] + WAITING == int(quota[f"requests.{device}"])
    queue = named(manifests, "LocalQueue", "default")
    assert queue["spec"]["clusterQueue"] == "mlops-assets"
    assert set(flavors) == {
        flavor["metadata"]["name"] for flavor in of_kind(manifests, "ResourceFlavor")
    }


def test_a_run_without_a_gpu_gets_no_flavor_of_gpu_nodes(tmp_path: Path) -> None:
    found = profiles("kueue", tmp_path)
    spec = named(overlay("kueue"), "ResourceFlavor", "mlops-assets-gpu")["spec"]
    for profile in found.profiles:
        placement = place([profile], found)
        tolerated = {toleration.key for toleration in placement.tolerations}
        taints = {taint["key"] for taint in spec["nodeTaints"]}
        assert (taints <= tolerated) == bool(placement.gpus)
        if placement.gpus:
            assert spec["nodeLabels"].items() <= placement.node_selector.items()
