"""What may come into a namespace: accounts and classes that exist, and quotas."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stand_in_kubernetes.errors import forbidden
from stand_in_kubernetes.kinds import (
    JOB,
    POD,
    PRIORITY_CLASS,
    QUOTA,
    RUNTIME_CLASS,
    SERVICE_ACCOUNT,
    Kind,
)
from stand_in_kubernetes.pods import is_finished
from stand_in_kubernetes.quantities import amount, total, written
from stand_in_kubernetes.store import Object, Store

# A client's word on an object's status counts for nothing when it is made.
_NEW: dict[Kind, dict[str, str]] = {POD: {"phase": "Pending"}, JOB: {}, QUOTA: {}}


def create(store: Store, kind: Kind, namespace: str | None, body: Object) -> Object:
    """Keep a new object if it is admitted; 403 with the reason if not."""
    name = body["metadata"].get("name") or body["metadata"]["generateName"]
    if kind is POD:
        _classes(store, namespace or "", name, body["spec"])
    if kind in {POD, JOB}:
        _quotas(store, kind, namespace or "", name, body)
    if kind in _NEW:
        body["status"] = dict(_NEW[kind])
    if kind is JOB:
        _mark(body)
    return store.create(kind, namespace, body)


def _mark(job: Object) -> None:
    """Have a Job's pods carry its name and its uid, by which it, and `kubectl logs`, know them."""
    name, uid = job["metadata"]["name"], str(uuid.uuid4())
    job["metadata"]["uid"] = uid
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = job["spec"]["template"].setdefault("metadata", {})
    template["labels"] = {
        **(template.get("labels") or {}),
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/job-name": name,
    }


def _classes(store: Store, namespace: str, name: str, spec: dict[str, Any]) -> None:
    account = spec["serviceAccountName"]
    if store.maybe(SERVICE_ACCOUNT, namespace, account) is None:
        place = f"{namespace}/{account}"
        why = f'error looking up service account {place}: serviceaccount "{account}" not found'
        raise forbidden(POD, name, why)
    priority = spec.get("priorityClassName")
    if priority:
        found = store.maybe(PRIORITY_CLASS, None, priority)
        if found is None:
            raise forbidden(POD, name, f"no PriorityClass with name {priority} was found")
        spec["priority"] = found["value"]
    runtime = spec.get("runtimeClassName")
    if runtime and store.maybe(RUNTIME_CLASS, None, runtime) is None:
        raise forbidden(POD, name, f'pod rejected: RuntimeClass "{runtime}" not found')


def _quotas(store: Store, kind: Kind, namespace: str, name: str, body: Object) -> None:
    quotas = store.find(QUOTA, namespace)
    if not quotas:
        return
    asked, used = _charged(kind, body), usage(store, namespace)
    for quota in quotas:
        hard = {what: amount(limit) for what, limit in quota["spec"].get("hard", {}).items()}
        title = quota["metadata"]["name"]
        if kind is POD:
            _must_be_specified(title, hard, name, body["spec"])
        over = [w for w in hard if asked.get(w) and used.get(w, Decimal(0)) + asked[w] > hard[w]]
        if over:
            sides = (("requested", asked), ("used", used), ("limited", hard))
            told = [
                f"{side}: " + ",".join(f"{w}={written(n.get(w, Decimal(0)))}" for w in sorted(over))
                for side, n in sides
            ]
            raise forbidden(kind, name, f"exceeded quota: {title}, {', '.join(told)}")


def _must_be_specified(
    title: str, hard: Mapping[str, Decimal], name: str, spec: Mapping[str, Any]
) -> None:
    """A quota on cpu or memory wants every container to say how much."""
    for container in spec["containers"]:
        has = container.get("resources") or {}
        missing = []
        for what in sorted(hard):
            side, _, resource = what.rpartition(".")
            if resource in {"cpu", "memory"} and side in {"", "requests", "limits"}:
                missing += [] if resource in has.get(side or "requests", {}) else [what]
        if missing:
            told = f"must specify {','.join(missing)} for: {container['name']}"
            raise forbidden(POD, name, f"failed quota: {title}: {told}")


def usage(store: Store, namespace: str) -> dict[str, Decimal]:
    """What a namespace has used of everything that a quota may limit."""
    used: dict[str, Decimal] = {}
    living = store.find(POD, namespace, lambda pod: not is_finished(pod))
    things = [(POD, pod) for pod in living] + [(JOB, job) for job in store.find(JOB, namespace)]
    for kind, thing in things:
        for what, number in _charged(kind, thing).items():
            used[what] = used.get(what, Decimal(0)) + number
    return used


def _charged(kind: Kind, thing: Object) -> dict[str, Decimal]:
    charged = {f"count/{kind.resource}": Decimal(1)}
    if kind is POD:
        requests = total(thing["spec"], "requests")
        charged |= {"pods": Decimal(1), **requests}
        charged |= {f"requests.{name}": number for name, number in requests.items()}
        charged |= {f"limits.{k}": number for k, number in total(thing["spec"], "limits").items()}
    return charged


def refresh_quotas(store: Store) -> None:
    """Write into every quota's status what is used of it."""
    for quota in store.find(QUOTA):
        used = usage(store, quota["metadata"]["namespace"])
        hard = quota["spec"].get("hard", {})
        quota["status"] = {
            "hard": dict(hard),
            "used": {what: written(used.get(what, Decimal(0))) for what in hard},
        }
        store.save(QUOTA, quota)
