"""Named profiles of what a run's pod gets, read from one YAML file and checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from mlops_assets.compute.clusters import ClusterKind, counts_gpus
from mlops_assets.settings import settings

PROFILE_NAME = r"^[a-z][-a-z0-9]{0,39}$"


class ProfileError(Exception):
    """A profile, or the choice of one, is not usable; the sentence names the place and remedy."""


def _as_text(value: object) -> object:
    """`cpu: 2` and `cpu: 0.5` are numbers to YAML and quantities to Kubernetes."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(pattern=r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"),
]
"""An amount as Kubernetes writes it: `500m` of a processor, `16Gi` of memory."""

Memory = Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)?(M|G|T|Mi|Gi|Ti)$")]
"""An amount of memory with its unit: `memory: 16` would be sixteen bytes."""


class Toleration(BaseModel):
    """A taint that pods of a profile put up with, in Kubernetes' words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value_is_compared(self) -> Toleration:
        if (self.value is None) is (self.operator == "Equal"):
            raise ValueError("operator Equal and a value belong together: write both, or neither")
        return self


class PodProfile(BaseModel):
    """What the pod of a run gets, and where it may be put.

    Attributes:
        cpu: Processors, as a request. No limit is set: a step that finds more may use it.
        memory: Memory, as request and limit: beyond it the kernel kills the pod, not its node.
        gpus: Whole devices.
        gpu_resource: The extended resource they are counted in, for a part of a device as
            `nvidia.com/mig-1g.10gb` or `nvidia.com/gpu.shared`; the cluster's own if None.
        gpu_product: The model of GPU, as the cluster's nodes are labelled with it.
        shared_memory: The size of `/dev/shm`, which the data loaders of training libraries fill;
            the container runtime's 64 MiB if None. It counts as memory of the pod.
        node_selector: Labels that the node has to carry.
        tolerations: Taints that it may carry, beside that of the cluster's GPU nodes.
        runtime_class: A RuntimeClass. None by default: pods that name a missing one are rejected.
        queue: Kueue's LocalQueue.
        priority_class: A PriorityClass.
        image: Another image than the deployment's.
        max_seconds: How long a run may take once it has started.
        extra: Anything else, as `dagster-k8s/config` takes it; merged over the rest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: Quantity
    memory: Memory
    gpus: Annotated[int, Field(strict=True)] = 0
    gpu_resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$")] | None = None
    gpu_product: str | None = None
    shared_memory: Memory | None = None
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()
    runtime_class: str | None = None
    queue: str | None = None
    priority_class: str | None = None
    image: str | None = None
    max_seconds: Annotated[int, Field(gt=0)] | None = None
    extra: Mapping[str, Any] = {}

    @field_validator("gpus", mode="before")
    @classmethod
    def _whole_devices(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"{value!r} is no number of GPUs: write 0 or a whole number, and for a part of a "
                "device name its resource in gpu_resource"
            )
        return value

    @field_validator("extra")
    @classmethod
    def _known_to_kubernetes(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if value:
            # Only whoever uses the escape hatch pays for the import.
            from dagster_k8s.job import USER_DEFINED_K8S_CONFIG_KEY, get_user_defined_k8s_config

            try:
                tags = {USER_DEFINED_K8S_CONFIG_KEY: json.dumps(value)}
                resources = get_user_defined_k8s_config(tags).container_config.get("resources", {})
            except Exception as error:
                raise ValueError(f"Kubernetes has no such configuration: {error}") from error
            for name in {name for amounts in resources.values() for name in amounts or ()}:
                if counts_gpus(name):
                    raise ValueError(
                        f"{name} stands in its resources, where the queue's limit does not see "
                        "it: write gpus and gpu_resource instead"
                    )
        return value

    @model_validator(mode="after")
    def _gpu_fields_have_a_gpu(self) -> PodProfile:
        for name in ("gpu_resource", "gpu_product"):
            if getattr(self, name) is not None and not self.gpus:
                raise ValueError(f"{name} is given and gpus is 0: say how many, or leave it out")
        return self


class Profiles(BaseModel):
    """The profiles of a deployment.

    Attributes:
        cluster: What kind of cluster it is. On one that is `cpu-only` no pod asks for a GPU,
            whatever its profile says.
        default: The profile of what names none.
        profiles: By name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: ClusterKind
    default: str
    profiles: Mapping[Annotated[str, Field(pattern=PROFILE_NAME)], PodProfile]
    _file: str = PrivateAttr("profiles.yaml")

    @model_validator(mode="after")
    def _default_exists(self) -> Profiles:
        if self.default not in self.profiles:
            raise ValueError(f"default names {self.default!r}, which is none of the profiles")
        return self

    def get(self, name: str, place: str) -> PodProfile:
        """A profile.

        Args:
            name: Its name.
            place: Who names it, for the error: `the run tag compute/override`.

        Raises:
            ProfileError: There is none of that name.
        """
        if name not in self.profiles:
            raise ProfileError(f"{place} names the profile {name!r}: {self.unknown(name)}")
        return self.profiles[name]

    def unknown(self, name: str) -> str:
        """That a profile does not exist, and what the name may have meant."""
        close = get_close_matches(name, self.profiles, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(self.profiles)}."
        return f"{self._file} has none of that name; {meant}"

    @classmethod
    def load(cls, path: Path) -> Profiles:
        """Read and check a file of profiles; read again once it has changed.

        Raises:
            ProfileError: The file is missing, or a field is wrong; the sentence names file and
                line.
        """
        try:
            return _read(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise ProfileError(
                f"the profiles {path} cannot be read ({error.strerror}): correct MLOPS_PROFILES."
            ) from error


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> Profiles:
    from dagster_shared.yaml_utils import parse_yaml_with_source_position

    try:
        tree = parse_yaml_with_source_position(path.read_text(encoding="utf-8"), path.name)
    except yaml.YAMLError as error:
        raise ProfileError(f"{path.name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(tree.value, dict):
        raise ProfileError(f"{path.name} holds no profiles: see docs/gpu.md.")
    try:
        # Never as keyword arguments, which a file could name too.
        found = Profiles.model_validate(tree.value)
    except ValidationError as error:
        first = error.errors()[0]
        where = [part for part in first["loc"] if part != "[key]"]
        position, _ = tree.source_position_tree.lookup_closest_and_path(where, None)
        field = ".".join(map(str, where))
        said = (
            "there is no such field"
            if first["type"] == "extra_forbidden"
            else first["msg"].removeprefix("Value error, ")
        )
        raise ProfileError(
            f"{path.name}:{position.start.line}: {f'{field}: ' if field else ''}{said}."
        ) from error
    found._file = path.name  # noqa: SLF001 - no field, which a file could set
    return found


def configured_profiles() -> Profiles:
    """The deployment's profiles, as `MLOPS_PROFILES` names their file.

    Raises:
        ProfileError: The file is missing or wrong.
    """
    return Profiles.load(settings().profiles_file)
