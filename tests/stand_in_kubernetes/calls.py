"""Requests: which object or collection one names, what it wants done, and what it brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from stand_in_kubernetes import tables
from stand_in_kubernetes.accounts import Asked
from stand_in_kubernetes.errors import ApiError
from stand_in_kubernetes.kinds import BY_PLURAL, Kind
from stand_in_kubernetes.selectors import by_fields, by_labels
from stand_in_kubernetes.store import Object, Store
from stand_in_kubernetes.streams import flag

_OF_AN_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_A_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


@dataclass(frozen=True)
class Call:
    """A request, understood."""

    request: Request
    kind: Kind
    where: Asked
    verb: str

    def found(self, store: Store) -> Object:
        return store.get(self.kind, self.where.namespace, self.where.name or "")

    def selected(self) -> Callable[[Object], bool]:
        query = self.request.query_params
        labels = by_labels(query.get("labelSelector", ""))
        fields = by_fields(self.kind, query.get("fieldSelector", ""))
        return lambda o: labels(o["metadata"].get("labels") or {}) and fields(o)

    @property
    def as_table(self) -> bool:
        return tables.ACCEPTED in self.request.headers.get("accept", "")


def understood(request: Request, path: str) -> Call:
    """Read a request's method and path. 404 or 405 if they name nothing that there is."""
    parts = path.split("/")[1:]
    group = ""
    if parts[:1] == ["apis"] and len(parts) > 2:
        group, rest = parts[1], parts[3:]
    else:
        rest = parts[2:]
    namespace = None
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    kind = BY_PLURAL.get((group, rest[0])) if rest else None
    if kind is None or len(rest) > 3 or parts[0] not in {"api", "apis"}:
        raise ApiError(404, "the server could not find the requested resource")
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else None
    if subresource and subresource not in kind.subresources:
        raise ApiError(404, "the server could not find the requested resource")
    verb = (_OF_AN_OBJECT if name else _OF_A_COLLECTION).get(request.method)
    if verb is None or (verb == "create" and kind.namespaced and namespace is None):
        raise ApiError(405, f"the server does not allow {request.method} here")
    if verb == "list" and flag(request.query_params, "watch"):
        verb = "watch"
    return Call(request, kind, Asked(namespace, name, subresource), verb)


async def body_of(request: Request) -> Any:
    """What a request brings, from JSON."""
    content = request.headers.get("content-type", "application/json")
    if "json" not in content:
        raise ApiError(415, f"the stand-in reads JSON, not {content}")
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None


async def options_of(request: Request) -> dict[str, Any]:
    """The options of a deletion, from the query and the body."""
    body = await body_of(request) if await request.body() else {}
    names = ("propagationPolicy", "gracePeriodSeconds")
    told = {name: request.query_params[name] for name in names if name in request.query_params}
    return {**told, **body}
