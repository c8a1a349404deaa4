"""Which pod goes to which node, and which devices it gets there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stand_in_kubernetes.kinds import NODE, POD
from stand_in_kubernetes.pods import condition, holds_resources, is_leaving, set_condition
from stand_in_kubernetes.quantities import amount, gpus, is_native, total
from stand_in_kubernetes.selectors import node_matches
from stand_in_kubernetes.store import Object, Store, name_of, record
from stand_in_kubernetes.timeline import Timeline

Amounts = dict[str, Decimal]
_ONE = Decimal(1)


@dataclass(frozen=True)
class Refusal:
    """Why a pod may not go to a node, and whether evicting others could help."""

    reasons: tuple[str, ...]
    preemptible: bool = False


def why_not(spec: Mapping[str, Any], node: Object, free: Amounts) -> Refusal | None:
    """The first rule that keeps a pod off a node, in the order of kube-scheduler's filters."""
    if node["spec"].get("unschedulable"):
        return Refusal(("node(s) were unschedulable",))
    tolerations = spec.get("tolerations") or ()
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, tolerations):
            # Without key and value since 1.34: they may say too much about a cluster.
            return Refusal(("node(s) had untolerated taint(s)",))
    if not node_matches(spec, node):
        return Refusal(("node(s) didn't match Pod's node affinity/selector",))
    wanted = {name: n for name, n in total(spec, "requests").items() if n}
    short = {name for name, number in wanted.items() if number > free.get(name, 0)}
    full = ("Too many pods",) if free["pods"] < 1 else ()
    if not short and not full:
        return None
    has = node["status"]["allocatable"]
    could = all(wanted[name] <= amount(has.get(name, 0)) for name in short)
    return Refusal((*full, *(f"Insufficient {name}" for name in sorted(short))), could)


def _tolerated(taint: Mapping[str, str], tolerations: Any) -> bool:
    return any(
        t.get("effect") in {None, "", taint["effect"]}
        and t.get("key") in {None, "", taint["key"]}
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in tolerations
    )


def told(refusals: list[Refusal]) -> str:
    """The message of an unschedulable pod, in kube-scheduler's words."""
    if not refusals:
        return "no nodes available to schedule pods"
    counts = Counter(reason for refusal in refusals for reason in refusal.reasons)
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    tries = Counter(
        "No preemption victims found for incoming pod"
        if refusal.preemptible
        else "Preemption is not helpful for scheduling"
        for refusal in refusals
    )
    preemption = ", ".join(sorted(f"{count} {outcome}" for outcome, count in tries.items()))
    none = f"0/{len(refusals)} nodes are available"
    return f"{none}: {reasons}. no new claims to deallocate, preemption: {none}: {preemption}."


class Scheduler:
    """Binds waiting pods to nodes, by priority and age, as soon as what they ask for is free."""

    def __init__(self, store: Store, timeline: Timeline) -> None:
        self._store, self._timeline = store, timeline
        self._devices: dict[str, dict[str, tuple[int, ...]]] = {}

    def devices(self, pod: Object) -> dict[str, tuple[int, ...]]:
        """The numbers of the devices that a bound pod has, by resource."""
        return self._devices.get(pod["metadata"]["uid"], {})

    def reconcile(self) -> None:
        """Bind what can be bound, and say of the others why not."""
        pods = self._store.find(POD)
        holding = {pod["metadata"]["uid"] for pod in pods if holds_resources(pod)}
        self._devices = {uid: taken for uid, taken in self._devices.items() if uid in holding}
        waiting = [pod for pod in pods if self._waits(pod)]
        if not waiting:
            return
        nodes = self._store.find(NODE)
        free = {name_of(node): self._free(node, pods) for node in nodes}
        # The store lists the oldest first, and a sort leaves equals in their order.
        for pod in sorted(waiting, key=_urgency, reverse=True):
            self._place(pod, nodes, free)

    def _waits(self, pod: Object) -> bool:
        bound = pod["spec"].get("nodeName")
        ours = pod["spec"]["schedulerName"] == "default-scheduler"
        return ours and not bound and not is_leaving(pod)

    def _free(self, node: Object, pods: list[Object]) -> Amounts:
        free = {name: amount(number) for name, number in node["status"]["allocatable"].items()}
        for pod in pods:
            if holds_resources(pod) and pod["spec"]["nodeName"] == name_of(node):
                _take(free, pod["spec"])
        return free

    def _place(self, pod: Object, nodes: list[Object], free: dict[str, Amounts]) -> None:
        self._timeline.note("pending", pod)
        refusals = []
        fitting = []
        for node in nodes:
            refusal = why_not(pod["spec"], node, free[name_of(node)])
            if refusal is None:
                fitting.append(name_of(node))
            else:
                refusals.append(refusal)
        if not fitting:
            message = told(refusals)
            if condition(pod, "PodScheduled").get("message") != message:
                record(self._store, POD, pod, "FailedScheduling", message)
            set_condition(pod, "PodScheduled", holds=False, reason="Unschedulable", why=message)
            self._store.save(POD, pod)
            return
        # The emptiest first, as kube-scheduler's default score prefers it.
        chosen = max(fitting, key=lambda name: free[name]["cpu"])
        self._bind(pod, next(node for node in nodes if name_of(node) == chosen))
        _take(free[chosen], pod["spec"])

    def _bind(self, pod: Object, node: Object) -> None:
        name = name_of(node)
        here = {
            other["metadata"]["uid"]
            for other in self._store.find(POD)
            if other["spec"].get("nodeName") == name
        }
        devices = {}
        for resource, number in total(pod["spec"], "requests").items():
            if not is_native(resource) and number:
                taken = {n for uid in here for n in self._devices.get(uid, {}).get(resource, ())}
                every = range(int(amount(node["status"]["allocatable"][resource])))
                devices[resource] = tuple([n for n in every if n not in taken][: int(number)])
        self._devices[pod["metadata"]["uid"]] = devices
        pod["spec"]["nodeName"] = name
        set_condition(pod, "PodScheduled", holds=True)
        self._store.save(POD, pod)
        meta = pod["metadata"]
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {name}"
        record(self._store, POD, pod, "Scheduled", message)
        numbers = tuple(sorted(n for taken in devices.values() for n in taken))
        self._timeline.note("scheduled", pod, numbers if gpus(pod["spec"]) else ())


def _take(free: Amounts, spec: Mapping[str, Any]) -> None:
    for name, number in total(spec, "requests").items():
        free[name] = free.get(name, Decimal(0)) - number
    free["pods"] -= _ONE


def _urgency(pod: Object) -> int:
    return int(pod["spec"].get("priority", 0))
