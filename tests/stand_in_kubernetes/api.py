"""The API over HTTP: what is done for each request, and what is answered."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from stand_in_kubernetes import accounts, admission, deletion, tables, validation
from stand_in_kubernetes.accounts import Accounts
from stand_in_kubernetes.calls import Call, body_of, options_of, understood
from stand_in_kubernetes.discovery import DISCOVERED
from stand_in_kubernetes.errors import ApiError, invalid
from stand_in_kubernetes.kinds import JOB, POD, Kind
from stand_in_kubernetes.store import Object, Store
from stand_in_kubernetes.streams import flag, followed, logged, watched

_MERGED = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Api:
    """The routes over a store.

    Args:
        store: The objects.
        known: Who may call.
        log: Where a pod's output is.
        failure: What has stopped the controllers, if anything has: every request then says so.
    """

    def __init__(
        self,
        store: Store,
        known: Accounts,
        log: Callable[[Object], Path],
        failure: Callable[[], str | None],
    ) -> None:
        self._store, self._known, self._log, self._failure = store, known, log, failure
        self._verbs: dict[str, Callable[[Call], Awaitable[Response]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    def app(self) -> Starlette:
        routes = [Route("/{path:path}", self._answer, methods=_METHODS)]
        return Starlette(routes=routes, exception_handlers={Exception: _unexpected})

    async def _answer(self, request: Request) -> Response:
        broken = self._failure()
        if broken:
            return _internal(f"a controller of the stand-in failed: {broken}")
        try:
            account = self._known.who(request.headers.get("authorization"))
            path = request.url.path.rstrip("/")
            if request.method == "GET" and path in DISCOVERED:
                return JSONResponse(DISCOVERED[path])
            call = understood(request, path)
            accounts.check(account, call.verb, call.kind, call.where)
            return await self._verbs[call.verb](call)
        except ApiError as refusal:
            return JSONResponse(refusal.status(), refusal.code)

    async def _get(self, call: Call) -> Response:
        found = call.found(self._store)
        if call.where.subresource == "log":
            return self._logs(call, found)
        if call.as_table:
            return JSONResponse(tables.table(call.kind, [found], str(self._store.version)))
        return JSONResponse(_typed(call.kind, found))

    def _logs(self, call: Call, pod: Object) -> Response:
        query = call.request.query_params
        name, only = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
        if query.get("container", only) != only:
            told = f"container {query['container']} is not valid for pod {name}"
            raise ApiError(400, told)
        state = pod["status"].get("containerStatuses", [{"state": {}}])[0]["state"]
        if "waiting" in state or not state:
            why = state.get("waiting", {}).get("reason", "not scheduled")
            told = f'container "{only}" in pod "{name}" is waiting to start: {why}'
            raise ApiError(400, told)
        file = self._log(pod)
        if flag(query, "follow"):
            return StreamingResponse(
                followed(self._store, pod, file, query), media_type="text/plain"
            )
        return PlainTextResponse(logged(file, query))

    async def _list(self, call: Call) -> Response:
        version = str(self._store.version)
        found = self._store.listed(call.kind, call.where.namespace, call.selected())
        if call.as_table:
            return JSONResponse(tables.table(call.kind, found, version))
        return JSONResponse(
            {
                "kind": f"{call.kind.name}List",
                "apiVersion": call.kind.api_version,
                "metadata": {"resourceVersion": version},
                "items": [_typed(call.kind, thing) for thing in found],
            }
        )

    async def _watch(self, call: Call) -> Response:
        since = call.request.query_params.get("resourceVersion", "0")
        queue = self._store.watch(int(since))
        wanted = call.selected()

        def shown(thing: Object) -> Object:
            if call.as_table:
                return tables.table(call.kind, [thing], thing["metadata"]["resourceVersion"])
            return _typed(call.kind, thing)

        present = [] if int(since) else self._store.find(call.kind, call.where.namespace, wanted)
        lines = watched(self._store, queue, call.kind, call.where.namespace, wanted, shown)
        first = [{"type": "ADDED", "object": shown(thing)} for thing in present]
        seconds = float(call.request.query_params.get("timeoutSeconds", 1800))
        return StreamingResponse(lines(first, seconds), media_type="application/json")

    async def _create(self, call: Call) -> Response:
        body = await body_of(call.request)
        validation.check(call.kind, body)
        named = (body["metadata"] or {}).get("namespace")
        if named and named != call.where.namespace:
            raise ApiError(
                400,
                f"the namespace of the provided object does not match the namespace sent on the "
                f"request: {named} is not {call.where.namespace}",
            )
        validation.fill_in(call.kind, body)
        for part in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            body["metadata"].pop(part, None)
        if call.request.query_params.get("dryRun"):
            return JSONResponse(_typed(call.kind, body), 201)
        made = admission.create(self._store, call.kind, call.where.namespace, body)
        return JSONResponse(_typed(call.kind, made), 201)

    async def _update(self, call: Call) -> Response:
        return self._replace(call, await body_of(call.request))

    async def _patch(self, call: Call) -> Response:
        content = call.request.headers.get("content-type", "").partition(";")[0]
        patch = await body_of(call.request)
        current = _typed(call.kind, copy.deepcopy(call.found(self._store)))
        if content in _MERGED:
            return self._replace(call, _merged(current, patch))
        raise ApiError(415, f"the stand-in takes {' and '.join(_MERGED)}, not {content}")

    def _replace(self, call: Call, body: Object) -> Response:
        found = call.found(self._store)
        meta = found["metadata"]
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version and version != meta["resourceVersion"]:
            raise ApiError(
                409,
                f'Operation cannot be fulfilled on {call.kind.resource} "{meta["name"]}": the '
                "object has been modified; please apply your changes to the latest version and "
                "try again",
            )
        validation.check(call.kind, body)
        if call.where.subresource == "status":
            found["status"] = body.get("status", {})
        else:
            _immutable(call.kind, found, body)
            kept = {k: meta[k] for k in ("uid", "creationTimestamp", "generation", "name")}
            kept |= {k: meta[k] for k in ("namespace", "deletionTimestamp") if k in meta}
            status = {"status": found["status"]} if "status" in found else {}
            found_new = {**body, "metadata": {**body["metadata"], **kept}, **status}
            found.clear()
            found.update(found_new)
            validation.fill_in(call.kind, found)
        self._store.save(call.kind, found)
        return JSONResponse(_typed(call.kind, found))

    async def _delete(self, call: Call) -> Response:
        options = await options_of(call.request)
        left = deletion.delete(self._store, call.kind, call.found(self._store), options)
        answer = left if left.get("kind") == "Status" else _typed(call.kind, left)
        return JSONResponse(answer, headers=_warning(call.kind, options))

    async def _delete_collection(self, call: Call) -> Response:
        options = await options_of(call.request)
        for thing in self._store.find(call.kind, call.where.namespace, call.selected()):
            deletion.delete(self._store, call.kind, thing, options)
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return JSONResponse(done, headers=_warning(call.kind, options))


async def _unexpected(_: Request, error: Exception) -> Response:
    # The traceback goes to standard error with it, where pytest shows it.
    return _internal(f"the stand-in failed: {error!r}")


def _internal(message: str) -> Response:
    return JSONResponse(ApiError(500, message).status(), 500)


def _typed(kind: Kind, thing: Object) -> Object:
    return {"kind": kind.name, "apiVersion": kind.api_version, **thing}


def _warning(kind: Kind, options: dict[str, Any]) -> dict[str, str]:
    silent = kind is not JOB or options.get("propagationPolicy")
    return {} if silent else {"Warning": f'299 - "{deletion.ORPHANS}"'}


def _merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch applied. Lists are replaced, also where a strategic patch would merge."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _immutable(kind: Kind, found: Object, body: Object) -> None:
    fixed = {JOB: ("template", "completions", "completionMode"), POD: ("containers", "nodeName")}
    faults = [
        (f"spec.{part}", "Invalid value: field is immutable")
        for part in fixed.get(kind, ())
        if found["spec"].get(part) != body["spec"].get(part)
    ]
    if faults:
        raise invalid(kind, found["metadata"]["name"], faults)
