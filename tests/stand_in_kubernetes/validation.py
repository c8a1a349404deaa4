"""What the API server refuses in a body, and what it fills in.

Schemas come from `kubernetes-validate`, strict; the rules that schemas do not hold (names, labels,
amounts, what a Job may ask) are worded as the API server words them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
from kubernetes_validate.utils import latest_version, schema_contents
from referencing import Registry, Resource

from stand_in_kubernetes.errors import ApiError, invalid
from stand_in_kubernetes.kinds import JOB, POD, SECRET, Kind
from stand_in_kubernetes.quantities import amount, is_native

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_OPERATORS = {"Exists", "Equal"}
_EFFECTS = {"NoSchedule", "PreferNoSchedule", "NoExecute"}

Faults = Iterator[tuple[str, str]]


def check(kind: Kind, body: Any) -> None:
    """Refuse what the schema forbids with 400, and what the API server forbids besides with 422."""
    if not isinstance(body, dict):
        raise ApiError(400, "the object provided is unrecognized: it is no mapping")
    body.setdefault("apiVersion", kind.api_version)
    body.setdefault("kind", kind.name)
    if (body["apiVersion"], body["kind"]) != (kind.api_version, kind.name):
        told = f"{body['apiVersion']}, Kind={body['kind']}"
        wanted = f"{kind.api_version}, Kind={kind.name}"
        raise ApiError(400, f"the object provided is unrecognized: {told} is not {wanted}")
    error = jsonschema.exceptions.best_match(_validator(kind).iter_errors(body))
    if error is not None:
        place = error.json_path.removeprefix("$.")
        raise ApiError(
            400,
            f'{kind.name} in version "v1" cannot be handled as a {kind.name}: strict decoding '
            f"error: {place}: {error.message}",
        )
    faults = list(_faults(kind, body))
    if faults:
        raise invalid(kind, body["metadata"].get("name", ""), faults)


@lru_cache
def _validator(kind: Kind) -> jsonschema.Draft202012Validator:
    # `kubernetes_validate.validate` reads 1.8 MB of schemas for every body it checks.
    group = f"{kind.group.split('.')[0]}-" if kind.group else ""
    schema = _schema(f"{kind.name.lower()}-{group}v1.json")
    registry = Resource.from_contents(schema) @ Registry()
    return jsonschema.Draft202012Validator(schema, registry=_definitions() @ registry)


@lru_cache
def _definitions() -> Resource[Any]:
    return Resource.from_contents(_schema("_definitions.json"))


def _schema(name: str) -> Any:
    version = latest_version()
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    return schema_contents(f"{folder}/{name}", version)


def _faults(kind: Kind, body: Mapping[str, Any]) -> Faults:
    meta = body.get("metadata") or {}
    yield from _name_faults(kind, meta)
    yield from _label_faults(meta, "metadata")
    if kind in {POD, JOB} and not body.get("spec"):
        yield "spec", "Required value"
    elif kind is POD:
        yield from _pod_faults(body["spec"], "spec")
    elif kind is JOB:
        template = body["spec"]["template"]
        yield from _label_faults(template.get("metadata") or {}, "spec.template")
        if template.get("spec"):
            yield from _pod_faults(template["spec"], "spec.template.spec")
        else:
            yield "spec.template.spec", "Required value"


def _name_faults(kind: Kind, meta: Mapping[str, Any]) -> Faults:
    name = meta.get("name") or meta.get("generateName", "").rstrip("-")
    longest = 63 if kind is JOB else 253
    if not name:
        yield "metadata.name", "Required value: name or generateName is required"
    elif len(name) > longest:
        yield "metadata.name", f'Invalid value: "{name}": must be no more than {longest} characters'
    elif not _NAME.fullmatch(name):
        yield (
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
            "character",
        )


def _label_faults(meta: Mapping[str, Any], place: str) -> Faults:
    labels = meta.get("labels") or {}
    for value in labels.values():
        if len(value) > 63:
            yield f"{place}.labels", f'Invalid value: "{value}": must be no more than 63 characters'
        elif value and not _LABEL_NAME.fullmatch(value):
            yield (
                f"{place}.labels",
                f'Invalid value: "{value}": a valid label must be an empty string or consist of '
                "alphanumeric characters, '-', '_' or '.', and must start and end with an "
                "alphanumeric character",
            )
    for part in ("labels", "annotations"):
        for key in meta.get(part) or {}:
            prefix, _, name = key.rpartition("/")
            sound = _LABEL_NAME.fullmatch(name) and len(name) <= 63
            if not sound or (prefix and not _NAME.fullmatch(prefix)):
                yield (
                    f"{place}.{part}",
                    f'Invalid value: "{key}": name part must consist of alphanumeric characters, '
                    "'-', '_' or '.', and must start and end with an alphanumeric character",
                )


def _pod_faults(spec: Mapping[str, Any], place: str) -> Faults:
    yield from _limits_of_the_stand_in(spec, place)
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    for at, container in enumerate(spec["containers"]):
        here = f"{place}.containers[{at}]"
        if not container.get("image"):
            yield f"{here}.image", "Required value"
        yield from _resource_faults(container.get("resources") or {}, f"{here}.resources")
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            if mount["name"] not in volumes:
                yield f"{here}.volumeMounts[{number}].name", f'Not found: "{mount["name"]}"'
    for at, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration_faults(toleration, f"{place}.tolerations[{at}]")


def _limits_of_the_stand_in(spec: Mapping[str, Any], place: str) -> Faults:
    policy = spec.get("restartPolicy", "Always")
    if policy != "Never":
        yield (
            f"{place}.restartPolicy",
            f'Unsupported value: "{policy}": supported values: "Never" (by the stand-in)',
        )
    for part in ("initContainers", "containers"):
        if len(spec.get(part) or ()) > (part == "containers"):
            yield f"{place}.{part}", "Too many: the stand-in runs one container in a pod"


def _toleration_faults(toleration: Mapping[str, Any], place: str) -> Faults:
    operator = toleration.get("operator", "Equal")
    if operator not in _OPERATORS:
        yield f"{place}.operator", f'Unsupported value: "{operator}": use "Equal" or "Exists"'
    if operator == "Exists" and toleration.get("value"):
        why = "value must be empty when `operator` is 'Exists'"
        yield f"{place}.operator", f'Invalid value: "{toleration["value"]}": {why}'
    if operator == "Equal" and not toleration.get("key"):
        yield f"{place}.operator", "Invalid value: operator must be Exists when `key` is empty"
    if toleration.get("effect") and toleration["effect"] not in _EFFECTS:
        yield f"{place}.effect", f'Unsupported value: "{toleration["effect"]}"'


def _resource_faults(resources: Mapping[str, Any], place: str) -> Faults:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for side, asked in (("limits", limits), ("requests", requests)):
        for name, quantity in asked.items():
            yield from _quantity_faults(name, quantity, f"{place}.{side}[{name}]")
    for name, quantity in requests.items():
        limit = limits.get(name)
        here = f"{place}.requests"
        if limit is None:
            if not is_native(name):
                yield (
                    f"{place}.limits",
                    "Required value: Limit must be set for non overcommitable resources",
                )
        elif not is_native(name) and _compared(quantity, limit) != 0:
            yield here, f'Invalid value: "{quantity}": must be equal to {name} limit of {limit}'
        elif _compared(quantity, limit) > 0:
            told = f"must be less than or equal to {name} limit of {limit}"
            yield here, f'Invalid value: "{quantity}": {told}'


def _compared(one: Any, other: Any) -> int:
    """-1, 0 or 1; 0 also where one is no amount, which is a fault told elsewhere."""
    try:
        first, second = amount(one), amount(other)
    except ValueError:
        return 0
    return (first > second) - (first < second)


def _quantity_faults(name: str, quantity: Any, place: str) -> Faults:
    if "/" not in name and not is_native(name):
        yield place, f'Invalid value: "{name}": must be a standard resource for containers'
    try:
        number = amount(quantity)
    except ValueError:
        # The API server's decoder stops here: this one is no list of faults.
        raise ApiError(
            400,
            f"{place}: quantities must match the regular expression "
            f"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', and {quantity!r} does not",
        ) from None
    if number < 0:
        yield place, f'Invalid value: "{quantity}": must be greater than or equal to 0'
    if not is_native(name) and number != int(number):
        yield place, f'Invalid value: "{quantity}": must be an integer'


def fill_in(kind: Kind, body: dict[str, Any]) -> None:
    """Add to a checked body the defaults that others rely on."""
    if kind is POD:
        _fill_in_pod(body["spec"])
    if kind is SECRET:
        plain = body.pop("stringData", None) or {}
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        body["data"] = {**(body.get("data") or {}), **coded}
    if kind is JOB:
        spec = body["spec"]
        defaults = {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "suspend": False,
            "completionMode": "NonIndexed",
        }
        body["spec"] = {**defaults, **{k: v for k, v in spec.items() if v is not None}}
        _fill_in_pod(body["spec"]["template"]["spec"])


def _fill_in_pod(spec: dict[str, Any]) -> None:
    for name, value in (
        ("terminationGracePeriodSeconds", 30),
        ("serviceAccountName", "default"),
        ("schedulerName", "default-scheduler"),
        ("restartPolicy", "Always"),
    ):
        if spec.get(name) is None:
            spec[name] = value
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
