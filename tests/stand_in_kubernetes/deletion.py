"""What DELETE does, by kind and by what it is told of those that depend on the object."""

from __future__ import annotations

from typing import Any

from stand_in_kubernetes import pods
from stand_in_kubernetes.clock import stamp
from stand_in_kubernetes.errors import ApiError
from stand_in_kubernetes.kinds import JOB, POD, Kind
from stand_in_kubernetes.store import Object, Store

# The API server's own; the default of batch/v1 is what surprises people.
ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background "
    "to remove them or set propagationPolicy=Orphan to suppress this warning"
)


def delete(store: Store, kind: Kind, thing: Object, options: dict[str, Any]) -> Object:
    """Delete an object and answer as the API server does: what is left of it, or a success."""
    wanted = (options.get("preconditions") or {}).get("uid")
    meta = thing["metadata"]
    if wanted and wanted != meta["uid"]:
        raise ApiError(
            409,
            f"Precondition failed: UID in precondition: {wanted}, UID in object "
            f"meta: {meta['uid']}",
        )
    if kind is POD:
        grace = options.get("gracePeriodSeconds")
        pods.delete(store, thing, None if grace is None else int(grace))
        return thing
    if kind is JOB:
        policy = options.get("propagationPolicy") or "Orphan"
        if policy == "Foreground":
            meta.setdefault("deletionTimestamp", stamp())
            store.save(JOB, thing)
            return thing
        if policy == "Orphan":
            _let_go(store, thing)
    store.remove(kind, thing)
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": meta["name"],
            "group": kind.group,
            "kind": kind.plural,
            "uid": meta["uid"],
        },
    }


def _let_go(store: Store, job: Object) -> None:
    """Leave a Job's pods to themselves: they run on, owned by nobody."""
    for pod in store.find(POD, job["metadata"]["namespace"]):
        owners = pod["metadata"].get("ownerReferences", [])
        kept = [owner for owner in owners if owner["uid"] != job["metadata"]["uid"]]
        if kept != owners:
            pod["metadata"]["ownerReferences"] = kept
            store.save(POD, pod)
