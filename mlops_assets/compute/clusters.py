"""How kinds of clusters name their GPUs: the resource, the labels of its nodes, their taints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

NVIDIA = "nvidia.com/gpu"
AMD = "amd.com/gpu"

_GPUS = re.compile(r"(nvidia\.com/(gpu|mig-)|amd\.com/).*")


class ClusterKind(StrEnum):
    """What runs the GPU nodes of a cluster, and so labels and taints them."""

    NVIDIA_OPERATOR = "nvidia-operator"
    GKE = "gke"
    KARPENTER = "karpenter"
    AMD = "amd"
    CPU_ONLY = "cpu-only"


@dataclass(frozen=True)
class GpuNodes:
    """What a pod has to say to be put on a cluster's GPU nodes.

    Attributes:
        resource: The extended resource that counts whole GPUs.
        product_label: The node label that names the GPU's model.
        selector: Labels that every GPU node carries. Only where the resource alone would not keep
            a pod elsewhere: none is needed for that, they speed up scheduling and make a missing
            operator visible.
        taint: The key of the taint that keeps other pods away from GPU nodes.
        annotations: Of pods that hold a GPU.
    """

    resource: str
    product_label: str
    taint: str
    selector: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


# Sources: the NVIDIA GPU operator's feature discovery, GKE's "About GPUs", Karpenter's AWS
# "well-known labels", the AMD GPU operator's node labeller. `nvidia.com/mig.config` is the
# operator's own state and never selected on.
GPU_NODES: Mapping[ClusterKind, GpuNodes] = {
    ClusterKind.NVIDIA_OPERATOR: GpuNodes(
        resource=NVIDIA,
        product_label="nvidia.com/gpu.product",
        taint=NVIDIA,
        selector={"nvidia.com/gpu.present": "true"},
    ),
    ClusterKind.GKE: GpuNodes(
        resource=NVIDIA,
        product_label="cloud.google.com/gke-accelerator",
        taint=NVIDIA,
    ),
    ClusterKind.KARPENTER: GpuNodes(
        resource=NVIDIA,
        product_label="karpenter.k8s.aws/instance-gpu-name",
        taint=NVIDIA,
        # Consolidation would otherwise move a training to a cheaper node in the middle, which
        # ends it.
        annotations={"karpenter.sh/do-not-disrupt": "true"},
    ),
    ClusterKind.AMD: GpuNodes(
        resource=AMD,
        product_label="amd.com/gpu.product-name",
        taint=AMD,
        selector={"feature.node.kubernetes.io/amd-gpu": "true"},
    ),
}
"""By kind; a cluster that is `cpu-only` has none, and nothing asks for a GPU there."""


def counts_gpus(resource: str) -> bool:
    """Whether a resource is GPUs or parts of them: `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`."""
    return _GPUS.fullmatch(resource) is not None
