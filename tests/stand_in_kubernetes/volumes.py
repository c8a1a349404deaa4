"""The volumes of a pod, as folders; and links to them where their mount paths may be made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stand_in_kubernetes.environment import NotConfiguredError, contents
from stand_in_kubernetes.store import Object, Store


def made(store: Store, pod: Object, folder: Path) -> dict[str, Path]:
    """The folder of every volume by its name. A volume of a kind not known here is empty.

    Raises:
        NotConfiguredError: A ConfigMap or Secret that one consists of is missing.
    """
    places = {}
    for volume in pod["spec"].get("volumes") or ():
        place = folder / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        places[volume["name"]] = place
        for name, value in _files(store, pod["metadata"]["namespace"], volume).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(value)
    return places


def _files(store: Store, namespace: str, volume: Mapping[str, Any]) -> dict[str, bytes]:
    for kind, part, key in (
        ("configmap", "configMap", "name"),
        ("secret", "secret", "secretName"),
    ):
        source = volume.get(part)
        if source is None:
            continue
        held = contents(store, namespace, kind, source[key])
        if held is None and not source.get("optional"):
            title = volume["name"]
            told = (
                f'MountVolume.SetUp failed for volume "{title}" : {kind} "{source[key]}" not found'
            )
            raise NotConfiguredError(told)
        held = held or {}
        items = source.get("items")
        return {i["path"]: held[i["key"]] for i in items if i["key"] in held} if items else held
    return {}


class Mounts:
    """Links from mount paths to volumes.

    A process of this machine has no file system of its own, so that a path is linked for all pods
    at once, and the newest pod's volume is what it shows.

    Args:
        root: The folder below which links may be made; none are if None.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root.resolve() if root else None
        self._links: set[Path] = set()

    def link(self, pod: Object, places: Mapping[str, Path]) -> None:
        """Link what a pod mounts; a path outside the root, or where something is, is left alone."""
        for mount in pod["spec"]["containers"][0].get("volumeMounts") or ():
            path = Path(os.path.normpath(mount["mountPath"]))
            if self._root is None or not path.is_relative_to(self._root):
                continue
            if path.exists() and path not in self._links:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".{path.name}.{pod['metadata']['uid']}")
            fresh.symlink_to(places[mount["name"]] / mount.get("subPath", ""))
            fresh.replace(path)
            self._links.add(path)

    def remove(self) -> None:
        """Take every link away."""
        for link in self._links:
            link.unlink(missing_ok=True)
