"""What controllers and the kubelet read and write in a pod."""

from __future__ import annotations

from typing import Any

from stand_in_kubernetes.clock import stamp
from stand_in_kubernetes.kinds import POD
from stand_in_kubernetes.store import Object, Store


def is_finished(pod: Object) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}


def is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def holds_resources(pod: Object) -> bool:
    """Whether what it asked for is taken from its node."""
    return bool(pod["spec"].get("nodeName")) and not is_finished(pod)


def set_condition(
    thing: Object, name: str, *, holds: bool, reason: str = "", why: str = ""
) -> None:
    """Set a condition of an object's status; the time is that of its last change."""
    conditions = thing["status"].setdefault("conditions", [])
    new = {"type": name, "status": str(holds)}
    new |= {"reason": reason} if reason else {}
    new |= {"message": why} if why else {}
    for old in conditions:
        if old["type"] == name:
            if {k: v for k, v in old.items() if not k.startswith("last")} == new:
                return
            conditions.remove(old)
            break
    conditions.append({**new, "lastTransitionTime": stamp()})


def condition(thing: Object, name: str) -> Object:
    """A condition, or an empty one."""
    found = (c for c in thing["status"].get("conditions", ()) if c["type"] == name)
    return next(found, {})


def set_state(pod: Object, phase: str, **state: Any) -> None:
    """Set the pod's phase and its container's state: `waiting=`, `running=` or `terminated=`."""
    container = pod["spec"]["containers"][0]
    running = "running" in state
    pod["status"]["phase"] = phase
    pod["status"]["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": running,
            "started": running,
            "restartCount": 0,
            "state": state,
            "lastState": {},
        }
    ]
    done = {"reason": "PodCompleted"} if phase == "Succeeded" else {"reason": "PodFailed"}
    unready = done if phase in {"Succeeded", "Failed"} else {"reason": "ContainersNotReady"}
    for name in ("Ready", "ContainersReady"):
        set_condition(pod, name, holds=running, **({} if running else unready))
    set_condition(pod, "Initialized", holds=True)


def delete(store: Store, pod: Object, grace: int | None = None) -> None:
    """Have a pod end and go. One that has a process goes when the kubelet has ended that.

    Args:
        store: Where it is.
        pod: The pod.
        grace: The seconds between SIGTERM and SIGKILL; what its spec says if None.
    """
    if not holds_resources(pod):
        store.remove(POD, pod)
        return
    seconds = pod["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
    if is_leaving(pod):
        seconds = min(seconds, pod["metadata"]["deletionGracePeriodSeconds"])
    else:
        pod["metadata"]["deletionTimestamp"] = stamp()
    pod["metadata"]["deletionGracePeriodSeconds"] = seconds
    store.save(POD, pod)
