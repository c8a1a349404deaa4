"""What the API server says there is: versions, groups and resources.

No OpenAPI: `kubectl apply` wants `--validate=false`, and bodies are validated here all the same.
"""

from __future__ import annotations

from typing import Any

from stand_in_kubernetes.kinds import GROUPS, KINDS
from stand_in_kubernetes.nodes import VERSION


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(group: str) -> dict[str, Any]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": [d for kind in KINDS if kind.group == group for d in kind.discovered()],
    }


_MAJOR, _MINOR = VERSION.removeprefix("v").split(".")[:2]

DISCOVERED: dict[str, dict[str, Any]] = {
    "/version": {"major": _MAJOR, "minor": _MINOR, "gitVersion": VERSION},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": _resources(""),
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name) for name in GROUPS],
    },
    **{
        f"/apis/{name}": {"kind": "APIGroup", "apiVersion": "v1", **_group(name)} for name in GROUPS
    },
    **{f"/apis/{name}/v1": _resources(name) for name in GROUPS},
}
