"""What a run's pod gets: the profiles of its steps made one, in Kubernetes' own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from mlops_assets.compute.clusters import GPU_NODES
from mlops_assets.compute.profiles import PodProfile, ProfileError, Profiles, Toleration

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SHARED_MEMORY = "shared-memory"

# A run that takes too long is ended by Dagster, which says so; the kubelet ends the pod where no
# daemon is alive to.
GRACE_SECONDS = 60


@dataclass(frozen=True)
class Placement:
    """What a pod gets and where it may be put.

    Attributes:
        profiles: The names of the profiles that it meets.
        amounts: What it requests, by resource.
        gpu_resource: Which of these are GPUs; None if it gets none.
        node_selector: Labels that the node has to carry.
        tolerations: Taints that it may carry.
        annotations: Of the pod.
        shared_memory: The size of `/dev/shm`; the container runtime's if None.
        single: What a pod has one of, as `image`; absent where no profile says it.
        max_seconds: How long the run may take; None for any time.
        extra: Raw configuration, merged over the rest.
    """

    profiles: tuple[str, ...]
    amounts: Mapping[str, str]
    gpu_resource: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    shared_memory: str | None = None
    single: Mapping[str, str] = field(default_factory=dict)
    max_seconds: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """How many GPUs, or parts of one, the pod gets."""
        return int(self.amounts[self.gpu_resource]) if self.gpu_resource else 0

    @property
    def name(self) -> str:
        """The profiles' names in one word."""
        return "+".join(self.profiles)

    def describe(self) -> str:
        """What is asked for, for a message about why it is not there."""
        asked = ", ".join(f"{amount} {resource}" for resource, amount in self.amounts.items())
        labels = ", ".join(f"{key}={value}" for key, value in self.node_selector.items())
        return f"profile {self.name} asks for {asked}" + (f" on nodes with {labels}" * bool(labels))

    def configuration(self, labels: Mapping[str, str], notes: Mapping[str, str]) -> dict[str, Any]:
        """The placement as dagster-k8s' raw configuration of a run.

        Args:
            labels: Of the pod and its Job, as Kubernetes takes them.
            notes: Annotations of both.
        """
        limited = ("memory", self.gpu_resource)
        limits = {name: amount for name, amount in self.amounts.items() if name in limited}
        container: dict[str, Any] = {
            "resources": {"requests": dict(self.amounts), "limits": limits}
        }
        spec: dict[str, Any] = {}
        if self.shared_memory is not None:
            mount = {"name": SHARED_MEMORY, "mount_path": "/dev/shm"}  # noqa: S108 - a mount's place
            container["volume_mounts"] = [mount]
            memory = {"medium": "Memory", "size_limit": self.shared_memory}
            spec["volumes"] = [{"name": SHARED_MEMORY, "empty_dir": memory}]
        if "image" in self.single:
            container["image"] = self.single["image"]
        if self.node_selector:
            spec["node_selector"] = dict(self.node_selector)
        if self.tolerations:
            spec["tolerations"] = [one.model_dump(exclude_none=True) for one in self.tolerations]
        for name in ("runtime_class_name", "priority_class_name"):
            if name in self.single:
                spec[name] = self.single[name]
        if self.max_seconds is not None:
            spec["active_deadline_seconds"] = self.max_seconds + GRACE_SECONDS
        queue = {QUEUE_LABEL: self.single["queue"]} if "queue" in self.single else {}
        return {
            "container_config": container,
            "pod_spec_config": spec,
            "pod_template_spec_metadata": {
                "labels": dict(labels),
                "annotations": {**notes, **self.annotations},
            },
            "job_metadata": {"labels": {**labels, **queue}, "annotations": dict(notes)},
        }


def place(names: Sequence[str], profiles: Profiles) -> Placement:
    """One pod for the steps of several profiles: of each resource the largest amount.

    Args:
        names: The profiles' names; each exists.
        profiles: What they are.

    Raises:
        ProfileError: No pod can be all of them.
    """
    return reduce(_both, [_single(name, profiles) for name in dict.fromkeys(names)])


def _single(name: str, profiles: Profiles) -> Placement:
    profile = profiles.profiles[name]
    if profile.gpus and profiles.cluster not in GPU_NODES:
        # What puts it onto GPU nodes would keep it off all others: a missing RuntimeClass rejects
        # the pod, and no node carries the labels.
        gone: dict[str, Any] = {
            "node_selector": {},
            "tolerations": (),
            "runtime_class": None,
            "queue": None,
        }
        profile = profile.model_copy(update={**gone, "gpus": 0})
    single = {
        "image": profile.image,
        "runtime_class_name": profile.runtime_class,
        "priority_class_name": profile.priority_class,
        "queue": profile.queue,
    }
    placement = Placement(
        profiles=(name,),
        amounts={"cpu": profile.cpu, "memory": profile.memory},
        node_selector=profile.node_selector,
        tolerations=tuple(profile.tolerations),
        shared_memory=profile.shared_memory,
        single={key: value for key, value in single.items() if value is not None},
        max_seconds=profile.max_seconds,
        extra=profile.extra,
    )
    return _with_gpus(placement, profile, profiles)


def _with_gpus(placement: Placement, profile: PodProfile, profiles: Profiles) -> Placement:
    if not profile.gpus:
        return placement
    nodes = GPU_NODES[profiles.cluster]
    resource = profile.gpu_resource or nodes.resource
    product = {nodes.product_label: profile.gpu_product} if profile.gpu_product else {}
    return Placement(
        **{
            **vars(placement),
            "amounts": {**placement.amounts, resource: str(profile.gpus)},
            "gpu_resource": resource,
            "node_selector": {**nodes.selector, **product, **placement.node_selector},
            "tolerations": (
                Toleration(key=nodes.taint, effect="NoSchedule"),
                *placement.tolerations,
            ),
            "annotations": nodes.annotations,
        }
    )


def _both(one: Placement, other: Placement) -> Placement:
    if one.gpu_resource and other.gpu_resource and one.gpu_resource != other.gpu_resource:
        raise _apart(one, other, "GPU", one.gpu_resource, other.gpu_resource)
    if one.extra and other.extra and one.extra != other.extra:
        raise _apart(one, other, "extra configuration", "one", "another")
    return Placement(
        profiles=(*one.profiles, *other.profiles),
        amounts=_largest(one.amounts, other.amounts),
        gpu_resource=one.gpu_resource or other.gpu_resource,
        node_selector=_agreeing(one, other, "node label", one.node_selector, other.node_selector),
        tolerations=tuple(dict.fromkeys((*one.tolerations, *other.tolerations))),
        annotations={**one.annotations, **other.annotations},
        shared_memory=_larger(one.shared_memory, other.shared_memory),
        single=_agreeing(one, other, "", one.single, other.single),
        # A run that nobody bounded may take any time.
        max_seconds=max(one.max_seconds, other.max_seconds)
        if one.max_seconds and other.max_seconds
        else None,
        extra=one.extra or other.extra,
    )


def _largest(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {
        name: amount
        for name in dict.fromkeys((*one, *other))
        if (amount := _larger(one.get(name), other.get(name))) is not None
    }


def _larger(one: str | None, other: str | None) -> str | None:
    from kubernetes.utils.quantity import parse_quantity

    return max((one, other), key=lambda amount: parse_quantity(amount or "0"))


def _agreeing(
    one: Placement, other: Placement, kind: str, ours: Mapping[str, str], theirs: Mapping[str, str]
) -> dict[str, str]:
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            raise _apart(one, other, f"{kind} {name}".strip(), ours[name], theirs[name])
    return {**ours, **theirs}


def _apart(one: Placement, other: Placement, what: str, ours: str, theirs: str) -> ProfileError:
    return ProfileError(
        f"one run cannot have the profiles {one.name} and {other.name}: the {what} would be "
        f"{ours} and {theirs}; run these partitions apart, or give them one profile."
    )
