"""Label selectors, field selectors and node selector terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from stand_in_kubernetes.errors import ApiError
from stand_in_kubernetes.kinds import Kind

_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=,()]+)\s*(==|!=|=)\s*([^\s!=,()]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")

Test = Callable[[Mapping[str, str]], bool]


def by_labels(selector: str) -> Test:
    """A test of an object's labels: `a=b,c!=d,e in (x,y),!f`."""
    tests = [_requirement(part) for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(part: str) -> Test:
    if found := _SET.match(part):
        key, operator, listed = found.groups()
        values = [value.strip() for value in listed.split(",")]
        return _expression(key, {"in": "In", "notin": "NotIn"}[operator], values)
    if found := _EQUAL.match(part):
        key, operator, value = found.groups()
        return _expression(key, "NotIn" if operator == "!=" else "In", [value])
    if found := _EXISTS.match(part):
        return _expression(found[2], "DoesNotExist" if found[1] else "Exists", [])
    raise ApiError(400, f"unable to parse requirement: {part!r} is no label selector")


def _expression(key: str, operator: str, values: list[str]) -> Test:
    tests: dict[str, Test] = {
        "In": lambda labels: labels.get(key) in values,
        "NotIn": lambda labels: labels.get(key) not in values,
        "Exists": lambda labels: key in labels,
        "DoesNotExist": lambda labels: key not in labels,
        "Gt": lambda labels: labels.get(key, "").isdigit() and int(labels[key]) > int(values[0]),
        "Lt": lambda labels: labels.get(key, "").isdigit() and int(labels[key]) < int(values[0]),
    }
    return tests[operator]


def node_matches(spec: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Whether a pod's node selector and required node affinity let it onto a node."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return not affinity or any(_term(term, labels, node) for term in affinity["nodeSelectorTerms"])


def _term(term: Mapping[str, Any], labels: Mapping[str, str], node: Mapping[str, Any]) -> bool:
    names = {"metadata.name": node["metadata"]["name"]}
    wanted = [(e, labels) for e in term.get("matchExpressions") or ()]
    wanted += [(e, names) for e in term.get("matchFields") or ()]
    # A term without a requirement matches nothing, in Kubernetes as here.
    return bool(wanted) and all(
        _expression(e["key"], e["operator"], e.get("values") or [])(where) for e, where in wanted
    )


def by_fields(kind: Kind, selector: str) -> Callable[[Mapping[str, Any]], bool]:
    """A test of an object's fields: `status.phase=Running,metadata.name!=x`."""
    wanted = []
    for part in filter(None, selector.split(",")):
        found = _EQUAL.match(part)
        if not found:
            raise ApiError(400, f"invalid selector: {part!r}; can't understand {part!r}")
        if found[1] not in kind.selectable:
            raise ApiError(400, f'"{found[1]}" is not a known field selector of {kind.resource}')
        wanted.append((found[1], found[2] != "!=", found[3]))
    return lambda thing: all((_field(thing, name) == value) is same for name, same, value in wanted)


def _field(thing: Any, name: str) -> str:
    if name == "status.successful":
        # Kubernetes' name for how many of a Job's pods succeeded, none of which is a number too.
        return _field(thing, "status.succeeded") or "0"
    for part in name.split("."):
        thing = thing.get(part) if isinstance(thing, Mapping) else None
    return "" if thing is None else str(thing)
