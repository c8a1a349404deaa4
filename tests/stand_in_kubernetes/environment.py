"""The environment and the command of a container: what its spec says, and nothing else."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stand_in_kubernetes.kinds import CONFIG_MAP, SECRET
from stand_in_kubernetes.store import Object, Store

_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_QUOTED = re.compile(r"(metadata\.(?:labels|annotations))\['([^']+)'\]")


class NotConfiguredError(Exception):
    """A container cannot be made of what it names: the kubelet tries again when that changes."""


def contents(store: Store, namespace: str, kind: str, name: str) -> dict[str, bytes] | None:
    """What a ConfigMap or a Secret holds, by key; None if there is none."""
    found = store.maybe({"configmap": CONFIG_MAP, "secret": SECRET}[kind], namespace, name)
    if found is None:
        return None
    data, binary = found.get("data") or {}, found.get("binaryData") or {}
    if kind == "secret":
        data, binary = {}, data
    plain = {key: value.encode() for key, value in data.items()}
    return plain | {key: base64.b64decode(value) for key, value in binary.items()}


def variables(store: Store, pod: Object, devices: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """What a pod's process finds in its environment.

    Raises:
        NotConfiguredError: A Secret, a ConfigMap or a key of one is missing.
    """
    container = pod["spec"]["containers"][0]
    given: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        given |= _all_of(store, pod, source)
    for variable in container.get("env") or ():
        value = _value(store, pod, variable, given)
        if value is not None:
            given[variable["name"]] = value
    return {**_of_the_image(), **given, **_visible(devices)}


def _of_the_image() -> dict[str, str]:
    """What an image would set: the programs of the environment that the tests run in."""
    programs = [str(Path(sys.prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
    return {"PATH": os.pathsep.join(programs), "LANG": "C.UTF-8"}


def _visible(devices: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """A container with GPUs sees those that it was given, by number, and no others."""
    given = {"nvidia.com/": "CUDA_VISIBLE_DEVICES", "amd.com/": "HIP_VISIBLE_DEVICES"}
    return {
        name: ",".join(map(str, numbers))
        for resource, numbers in devices.items()
        for vendor, name in given.items()
        if resource.startswith(vendor)
    }


def _all_of(store: Store, pod: Object, source: Mapping[str, Any]) -> dict[str, str]:
    kind = "configmap" if "configMapRef" in source else "secret"
    reference = source["configMapRef" if kind == "configmap" else "secretRef"]
    held = contents(store, pod["metadata"]["namespace"], kind, reference["name"])
    if held is None:
        if reference.get("optional"):
            return {}
        raise NotConfiguredError(f'{kind} "{reference["name"]}" not found')
    return {source.get("prefix", "") + key: value.decode() for key, value in held.items()}


def _value(
    store: Store, pod: Object, variable: Mapping[str, Any], given: Mapping[str, str]
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expanded(variable.get("value") or "", given)
    if "fieldRef" in source:
        return _of_the_pod(pod, source["fieldRef"]["fieldPath"])
    for kind, part in (("secret", "secretKeyRef"), ("configmap", "configMapKeyRef")):
        if part in source:
            return _key_of(store, pod["metadata"]["namespace"], kind, source[part])
    raise NotConfiguredError(f"the stand-in reads no {', '.join(source)} for {variable['name']}")


def _key_of(store: Store, namespace: str, kind: str, wanted: Mapping[str, Any]) -> str | None:
    name, key = wanted["name"], wanted["key"]
    held = contents(store, namespace, kind, name)
    if held is not None and key in held:
        return held[key].decode()
    if wanted.get("optional"):
        return None
    if held is None:
        raise NotConfiguredError(f'{kind} "{name}" not found')
    title = {"secret": "Secret", "configmap": "ConfigMap"}[kind]
    raise NotConfiguredError(f"couldn't find key {key} in {title} {namespace}/{name}")


def _of_the_pod(pod: Object, path: str) -> str:
    quoted = _QUOTED.fullmatch(path)
    steps = [*quoted[1].split("."), quoted[2]] if quoted else path.split(".")
    value: Any = pod
    for step in steps:
        value = value.get(step, {}) if isinstance(value, Mapping) else {}
    return str(value or "")


def expanded(text: str, given: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by what the environment holds; unknown names and `$$(NAME)` stay."""
    return _REFERENCE.sub(
        lambda found: "$" if found[1] is None else given.get(found[1], found[0]), text
    )


def command(pod: Object, given: Mapping[str, str]) -> list[str]:
    """What a container runs; as no image is there, its arguments alone may be the command."""
    container = pod["spec"]["containers"][0]
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return [expanded(word, given) for word in words]
