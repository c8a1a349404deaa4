"""The machines that a test says there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stand_in_kubernetes.clock import stamp

# What the stand-in says it is: the newest Kubernetes whose schemas validate its bodies.
VERSION = "v1.37.0"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Node:
    """A machine of the stand-in.

    Args:
        name: Its name, and its label `kubernetes.io/hostname`.
        cpu: Cores.
        memory: A quantity.
        devices: Extended resources and how many there are: `{"nvidia.com/gpu": 2}`.
        labels: More labels.
        taints: Mappings of `key`, `value` and `effect`.
    """

    name: str
    cpu: int = 64
    memory: str = "256Gi"
    devices: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def manifest(self) -> dict[str, Any]:
        has = {"cpu": str(self.cpu), "memory": self.memory, "pods": "110"}
        has |= {name: str(count) for name, count in self.devices.items()}
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", **self.labels}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the stand-in runs its pods as local processes",
            "lastHeartbeatTime": stamp(),
            "lastTransitionTime": stamp(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"taints": [dict(taint) for taint in self.taints]},
            "status": {
                "capacity": has,
                "allocatable": dict(has),
                "conditions": [ready],
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "nodeInfo": {
                    "architecture": "amd64",
                    "bootID": "",
                    "containerRuntimeVersion": "stand-in://1",
                    "kernelVersion": "",
                    "kubeProxyVersion": VERSION,
                    "kubeletVersion": VERSION,
                    "machineID": "",
                    "operatingSystem": "linux",
                    "osImage": "stand-in",
                    "systemUUID": "",
                },
            },
        }


def cpu_node(name: str, **more: Any) -> Node:
    """A machine without devices."""
    return Node(name, **more)


def gpu_node(name: str, gpus: int = 1, product: str = "NVIDIA-A100-SXM4-40GB") -> Node:
    """A machine as NVIDIA's operator labels it, tainted so that only GPU pods land on it."""
    labels = {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(gpus),
    }
    return Node(name, devices={"nvidia.com/gpu": gpus}, labels=labels, taints=[GPU_TAINT])
