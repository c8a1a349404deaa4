"""The kinds of objects that the stand-in keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_NAMED = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True)
class Kind:
    """One kind: its place in the API and what may be asked of it."""

    plural: str
    name: str
    group: str = ""
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def resource(self) -> str:
        """As messages name it: `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def selectable(self) -> tuple[str, ...]:
        """The fields that a field selector may name."""
        return _NAMED + self.fields

    def discovered(self) -> list[dict[str, Any]]:
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        common = {"singularName": self.name.lower(), "namespaced": self.namespaced}
        own = {**common, "name": self.plural, "kind": self.name, "verbs": verbs}
        if self.short:
            own["shortNames"] = list(self.short)
        if self.name in {"Pod", "Job"}:
            own["categories"] = ["all"]
        below = [
            {**common, "name": f"{self.plural}/{sub}", "kind": self.name, "verbs": ["get"]}
            for sub in self.subresources
        ]
        return [own, *below]


_EVENT_FIELDS = (
    *(
        f"involvedObject.{f}"
        for f in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
    ),
    *("reason", "type", "reportingComponent", "source"),
)
_POD_FIELDS = ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase")

NAMESPACE = Kind("namespaces", "Namespace", namespaced=False, short=("ns",))
NODE = Kind("nodes", "Node", namespaced=False, short=("no",), fields=("spec.unschedulable",))
POD = Kind("pods", "Pod", short=("po",), subresources=("log", "status"), fields=_POD_FIELDS)
JOB = Kind("jobs", "Job", "batch", subresources=("status",), fields=("status.successful",))
EVENT = Kind("events", "Event", short=("ev",), fields=_EVENT_FIELDS)
CONFIG_MAP = Kind("configmaps", "ConfigMap", short=("cm",))
SECRET = Kind("secrets", "Secret", fields=("type",))
SERVICE_ACCOUNT = Kind("serviceaccounts", "ServiceAccount", short=("sa",))
QUOTA = Kind("resourcequotas", "ResourceQuota", short=("quota",), subresources=("status",))
PRIORITY_CLASS = Kind("priorityclasses", "PriorityClass", "scheduling.k8s.io", False, ("pc",))
RUNTIME_CLASS = Kind("runtimeclasses", "RuntimeClass", "node.k8s.io", False)

KINDS = (
    *(NAMESPACE, NODE, POD, JOB, EVENT, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, QUOTA),
    *(PRIORITY_CLASS, RUNTIME_CLASS),
)
BY_PLURAL = {(kind.group, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS if kind.group))
