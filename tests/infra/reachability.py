"""Who may talk to whom under NetworkPolicies, for the selectors and ports that ours use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod, or something outside the cluster.

    Attributes:
        labels: The pod's.
        ports: Its named ports.
        namespace: The labels of its namespace.
        outside: It is no pod: only a rule without peers leads there.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    namespace: Mapping[str, str] = field(default_factory=dict)
    outside: bool = False


HOME = {"kubernetes.io/metadata.name": "mlops-assets"}
"""The labels of the policies' own namespace."""


def reaches(policies: Sequence[Policy], source: Peer, target: Peer, port: int) -> bool:
    """Whether a connection is allowed at both of its ends."""
    return _open(policies, "Egress", source, target, target, port) and _open(
        policies, "Ingress", target, source, target, port
    )


def _open(
    policies: Sequence[Policy], way: str, end: Peer, other: Peer, target: Peer, port: int
) -> bool:
    if end.outside or end.namespace != HOME:
        return True
    specs = [policy["spec"] for policy in policies]
    mine = [s for s in specs if way in s["policyTypes"] and selects(s["podSelector"], end.labels)]
    rules = [rule for spec in mine for rule in spec.get(way.lower(), [])]
    peers = "to" if way == "Egress" else "from"
    return not mine or any(
        _is_peer(rule.get(peers), other) and _is_port(rule.get("ports"), target, port)
        for rule in rules
    )


def _is_peer(wanted: Sequence[Mapping[str, Any]] | None, other: Peer) -> bool:
    if wanted is None:
        return True
    return not other.outside and any(
        "ipBlock" not in one
        and selects(one.get("podSelector", {}), other.labels)
        and (
            selects(one["namespaceSelector"], other.namespace)
            if "namespaceSelector" in one
            else other.namespace == HOME
        )
        for one in wanted
    )


def _is_port(wanted: Sequence[Mapping[str, Any]] | None, target: Peer, port: int) -> bool:
    return wanted is None or any(
        target.ports.get(one["port"], one["port"]) == port for one in wanted
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches."""
    exact = selector.get("matchLabels", {})
    return exact.items() <= labels.items() and all(
        (labels.get(one["key"]) in one["values"]) == (one["operator"] == "In")
        for one in selector.get("matchExpressions", [])
    )
