"""Named profiles: read strictly, put on the GPU nodes of each kind of cluster, made one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.compute.clusters import ClusterKind
from mlops_assets.compute.placement import place
from mlops_assets.compute.profiles import ProfileError, Profiles
from mlops_assets.settings import ROOT

BEGINNING = """\
cluster: nvidia-operator
default: small
profiles:
  small: {cpu: 500m, memory: 1Gi}
"""

Written = Callable[..., Profiles]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(lines: str = "", cluster: str = "nvidia-operator") -> Profiles:
        path = tmp_path / "profiles.yaml"
        path.write_text(BEGINNING.replace("nvidia-operator", cluster) + lines)
        return Profiles.load(path)

    return write


def test_the_repositorys_own_are_usable() -> None:
    profiles = Profiles.load(ROOT / "infra" / "k8s" / "base" / "profiles.yaml")
    assert profiles.profiles["gpu-small"].gpus == 1
    for name in profiles.profiles:
        place([name], profiles)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  bad: {cpu: 1, memory: 1Gi, gpus: -1}", "profiles.yaml:5: profiles.bad.gpus: -1 is no"),
        ("  bad: {cpu: 1, memory: 1Gi, gpus: 0.5}", "name its resource in gpu_resource"),
        ("  bad: {cpu: 1, memory: 1Gi, gpus: true}", "True is no number of GPUs"),
        ("  bad: {cpu: 1, memory: 1Gi, gpu: 1}", "profiles.bad.gpu: there is no such field"),
        ("  bad: {cpu: 1, memory: 16}", "profiles.bad.memory"),
        ("  bad: {cpu: 1, memory: 0Gi}", "profiles.bad.memory"),
        ("  bad: {cpu: 1, memory: 1 GB}", "profiles.yaml:5: profiles.bad.memory"),
        ("  bad: {cpu: 1}", "profiles.bad.memory: Field required"),
        ("  bad: {cpu: 1, memory: 1Gi, gpu_product: A100}", "gpu_product is given and gpus is 0"),
        ("  bad: {cpu: 1, memory: 1Gi, max_seconds: 0}", "profiles.bad.max_seconds"),
        ("  BAD_NAME: {cpu: 1, memory: 1Gi}", "profiles.BAD_NAME"),
        (
            "  bad: {cpu: 1, memory: 1Gi, extra: {pod_spec_config: {nodes: x}}}",
            "profiles.bad.extra",
        ),
        (
            "  bad: {cpu: 1, memory: 1Gi, extra: {container_config: {resources: {limits: "
            "{nvidia.com/gpu: 1}}}}}",
            "write gpus and gpu_resource instead",
        ),
        (
            "  bad: {cpu: 1, memory: 1Gi, tolerations: [{key: team, value: ml}]}",
            "operator Equal and a value belong together",
        ),
        ("nonsense: 1", "profiles.yaml:5: nonsense: there is no such field"),
        ("path: elsewhere", "profiles.yaml:5: path: there is no such field"),
        ("1: one", "1: "),
        ("  bad: [", "profiles.yaml is no YAML"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(written: Written, line: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        written(line + "\n")
    assert said in str(caught.value)


def test_a_wrong_kind_of_cluster_is_refused(written: Written) -> None:
    with pytest.raises(ProfileError, match=r"profiles.yaml:1: cluster: .*'nvidia-operator'"):
        written(cluster="mainframe")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="correct MLOPS_PROFILES"):
        Profiles.load(tmp_path / "nothing.yaml")


def test_a_changed_file_is_read_again(written: Written) -> None:
    assert "big" not in written().profiles
    assert "big" in written("  big: {cpu: 8, memory: 64Gi}\n").profiles


def test_an_unknown_name_is_told_with_the_one_it_may_mean(written: Written) -> None:
    with pytest.raises(ProfileError, match="did you mean 'small'"):
        written().get("smal", "the run tag compute/override")


@pytest.mark.parametrize(
    ("cluster", "resource", "selector", "taint"),
    [
        (
            ClusterKind.NVIDIA_OPERATOR,
            "nvidia.com/gpu",
            {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "A100"},
            "nvidia.com/gpu",
        ),
        (
            ClusterKind.GKE,
            "nvidia.com/gpu",
            {"cloud.google.com/gke-accelerator": "A100"},
            "nvidia.com/gpu",
        ),
        (
            ClusterKind.KARPENTER,
            "nvidia.com/gpu",
            {"karpenter.k8s.aws/instance-gpu-name": "A100"},
            "nvidia.com/gpu",
        ),
        (
            ClusterKind.AMD,
            "amd.com/gpu",
            {
                "feature.node.kubernetes.io/amd-gpu": "true",
                "amd.com/gpu.product-name": "A100",
            },
            "amd.com/gpu",
        ),
    ],
)
def test_gpus_are_asked_for_as_the_cluster_names_them(
    written: Written, cluster: ClusterKind, resource: str, selector: dict[str, str], taint: str
) -> None:
    profiles = written("  big: {cpu: 1, memory: 1Gi, gpus: 2, gpu_product: A100}\n", cluster)
    found = place(["big"], profiles).configuration({}, {})
    resources = found["container_config"]["resources"]
    assert resources["limits"][resource] == resources["requests"][resource] == "2"
    assert found["pod_spec_config"]["node_selector"] == selector
    assert [one["key"] for one in found["pod_spec_config"]["tolerations"]] == [taint]


def test_nothing_asks_for_a_gpu_on_a_cluster_without(written: Written) -> None:
    profiles = written(
        "  big: {cpu: 1, memory: 1Gi, gpus: 2, gpu_product: A, runtime_class: nvidia, queue: gpus,"
        " node_selector: {zone: gpus}, tolerations: [{key: spot}]}\n",
        "cpu-only",
    )
    placement = place(["big"], profiles)
    assert placement.gpus == 0
    assert placement.configuration({}, {})["pod_spec_config"] == {}


def test_a_profile_says_everything_that_a_pod_may_need(written: Written) -> None:
    profiles = written(
        "  big: {cpu: 1, memory: 1Gi, gpus: 1, gpu_resource: nvidia.com/mig-1g.10gb, queue: q,"
        " priority_class: high, runtime_class: nvidia, image: other:1, shared_memory: 2Gi,"
        " max_seconds: 60, node_selector: {zone: a}, tolerations: [{key: spot}]}\n"
    )
    found = place(["big"], profiles).configuration({"l": "v"}, {"n": "w"})
    container, spec = found["container_config"], found["pod_spec_config"]
    assert container["resources"]["limits"] == {"memory": "1Gi", "nvidia.com/mig-1g.10gb": "1"}
    assert container["image"] == "other:1"
    assert container["volume_mounts"][0]["mount_path"] == "/dev/shm"
    assert spec["volumes"][0]["empty_dir"] == {"medium": "Memory", "size_limit": "2Gi"}
    assert spec["priority_class_name"] == "high"
    assert spec["runtime_class_name"] == "nvidia"
    assert spec["active_deadline_seconds"] == 120
    assert spec["node_selector"]["zone"] == "a"
    assert {one["key"] for one in spec["tolerations"]} == {"nvidia.com/gpu", "spot"}
    labels = found["job_metadata"]["labels"]
    assert labels == {"l": "v", "kueue.x-k8s.io/queue-name": "q"}
    assert found["pod_template_spec_metadata"]["labels"] == {"l": "v"}


def test_several_profiles_become_one_with_the_largest_of_each(written: Written) -> None:
    profiles = written(
        "  cpu: {cpu: 16, memory: 900Mi}\n"
        "  gpu: {cpu: 500m, memory: 1Gi, gpus: 1, shared_memory: 1Gi, max_seconds: 60}\n"
    )
    placement = place(["cpu", "gpu", "cpu"], profiles)
    assert placement.name == "cpu+gpu"
    assert placement.amounts == {"cpu": "16", "memory": "1Gi", "nvidia.com/gpu": "1"}
    assert placement.node_selector == {"nvidia.com/gpu.present": "true"}
    assert placement.max_seconds is None, "one of them may take any time"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            "gpus: 1, gpu_product: A100",
            "gpus: 1, gpu_product: H100",
            "the node label nvidia.com/gpu.product would be A100 and H100",
        ),
        ("gpus: 1", "gpus: 1, gpu_resource: nvidia.com/gpu.shared", "the GPU would be"),
        ("queue: a", "queue: b", "the queue would be a and b"),
        ("image: a", "image: b", "the image would be a and b"),
    ],
)
def test_profiles_that_no_pod_can_be_are_refused(
    written: Written, one: str, other: str, said: str
) -> None:
    profiles = written(
        f"  one: {{cpu: 1, memory: 1Gi, {one}}}\n  other: {{cpu: 1, memory: 1Gi, {other}}}\n"
    )
    with pytest.raises(ProfileError, match="run these partitions apart") as caught:
        place(["one", "other"], profiles)
    assert said in str(caught.value)
