"""What `kubectl get` shows: the columns that the API server computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stand_in_kubernetes.clock import age
from stand_in_kubernetes.kinds import EVENT, JOB, NODE, POD, QUOTA, Kind
from stand_in_kubernetes.pods import condition
from stand_in_kubernetes.store import Object, name_of

ACCEPTED = "as=Table"


class _Column(NamedTuple):
    name: str
    cell: Callable[[Object], Any]
    wide: bool = False  # shown with `-o wide` alone


def _age(thing: Object) -> str:
    return age(thing["metadata"].get("creationTimestamp"))


def _statuses(pod: Object) -> list[Object]:
    return list(pod["status"].get("containerStatuses", ()))


def _pod_status(pod: Object) -> str:
    shown = pod["status"].get("reason") or pod["status"]["phase"]
    for status in _statuses(pod):
        state = status["state"].get("waiting") or status["state"].get("terminated") or {}
        shown = state.get("reason") or shown
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else str(shown)


def _ready(pod: Object) -> str:
    ready = sum(status["ready"] for status in _statuses(pod))
    return f"{ready}/{len(pod['spec']['containers'])}"


def _job_status(job: Object) -> str:
    for name in ("Complete", "Failed", "Suspended"):
        if condition(job, name).get("status") == "True":
            return name
    return "Terminating" if "deletionTimestamp" in job["metadata"] else "Running"


def _completions(job: Object) -> str:
    return f"{job['status'].get('succeeded', 0)}/{job['spec']['completions']}"


def _node_status(node: Object) -> str:
    ready = "Ready" if condition(node, "Ready").get("status") == "True" else "NotReady"
    return f"{ready},SchedulingDisabled" if node["spec"].get("unschedulable") else ready


def _used(quota: Object) -> str:
    status = quota.get("status", {})
    return ", ".join(
        f"{what}: {status['used'][what]}/{limit}" for what, limit in status.get("hard", {}).items()
    )


def _about(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about['kind'].lower()}/{about['name']}"


_NAME, _AGE = _Column("Name", name_of), _Column("Age", _age)
_COLUMNS: dict[Kind, Sequence[_Column]] = {
    POD: (
        _NAME,
        _Column("Ready", _ready),
        _Column("Status", _pod_status),
        _Column("Restarts", lambda _: "0"),
        _AGE,
        _Column("IP", lambda pod: pod["status"].get("podIP") or "<none>", wide=True),
        _Column("Node", lambda pod: pod["spec"].get("nodeName") or "<none>", wide=True),
    ),
    JOB: (
        _NAME,
        _Column("Status", _job_status),
        _Column("Completions", _completions),
        _Column("Duration", lambda job: age(job["status"].get("startTime"))),
        _AGE,
    ),
    NODE: (
        _NAME,
        _Column("Status", _node_status),
        _Column("Roles", lambda _: "<none>"),
        _AGE,
        _Column("Version", lambda node: node["status"]["nodeInfo"]["kubeletVersion"]),
    ),
    EVENT: (
        _Column("Last Seen", lambda event: age(event["lastTimestamp"])),
        _Column("Type", lambda event: event["type"]),
        _Column("Reason", lambda event: event["reason"]),
        _Column("Object", _about),
        _Column("Message", lambda event: event["message"]),
    ),
    QUOTA: (_NAME, _AGE, _Column("Used", _used)),
}


def table(kind: Kind, things: Sequence[Object], version: str) -> Object:
    """Objects as a `Table`, which is what `kubectl get` asks for."""
    columns = _COLUMNS.get(kind, (_NAME, _AGE))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [
            {
                "name": column.name,
                "type": "string",
                "format": "name" if column.name == "Name" else "",
                "description": "",
                "priority": int(column.wide),
            }
            for column in columns
        ],
        "rows": [
            {"cells": [column.cell(thing) for column in columns], "object": _partial(thing)}
            for thing in things
        ],
    }


def _partial(thing: Object) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": thing["metadata"],
    }
