"""HTTP as the server sees it: requests, responses, routes, authentication, errors.

Belongs here: turning an ASGI call into one handler call and its result into bytes. Does not: what
any endpoint does (`api_*`).

Plain ASGI and a look-up table: the main job sends thousands of small requests one after another
from the same interpreter, so every layer in between would be paid thousands of times. A handler
runs in the event loop's own thread, unless its route is marked slow or its request brings bytes to
store: then in a worker thread, so that a large commit does not hold up everybody else, and several
uploads hash and sync their bytes at once.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qsl, unquote

from mlops_assets.lakefs_server import fields, parameters
from mlops_assets.lakefs_server.blobs import Blob, BlobStore
from mlops_assets.lakefs_server.credentials import Guard
from mlops_assets.lakefs_server.errors import ApiError, InvalidError, NotFoundError
from mlops_assets.lakefs_server.multipart import FormField

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PREFIX = "/api/v1/"
_IN_MEMORY_BYTES = 1 << 20
_AT_ONCE_BYTES = 1 << 13  # what takes longer to store than to hand to another thread
_SEND_BYTES = 1 << 20
_MOST_JSON_BYTES = 64 << 20  # a commit that names a year's inputs has less than one MB
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_JSON = (b"content-type", b"application/json")
NO_SNIFF = (b"x-content-type-options", b"nosniff")


@dataclass
class Request:
    """A request without its transport.

    Attributes:
        user: The id of the access key that it came with; empty where none is needed.
        body: What came; of a form the field that its route takes.
        blob: Set instead when a large body went straight to disk.
        content_type: Of the body, or of the form's field.
        base_url: Where the API lies for this client, by the host that it called.
    """

    method: str
    query: dict[str, list[str]]
    headers: dict[bytes, bytes]
    user: str = ""
    body: bytes = b""
    blob: Blob | None = None
    content_type: str = ""
    base_url: str = ""

    def text(self, name: str, default: str = "") -> str:
        """A query parameter, or the default."""
        values = self.query.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """All values of a repeated query parameter."""
        return self.query.get(name, [])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean query parameter; clients write `true` and `True`."""
        return self.text(name) in parameters.TRUE if name in self.query else default

    def header(self, name: str) -> str:
        """A header's value, or an empty string."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    def json(self) -> fields.Fields:
        """The body as a JSON object; raises InvalidError if it is none."""
        found = self.json_value()
        if not isinstance(found, dict):
            raise InvalidError("the request's body is not a JSON object")
        return fields.Fields(found)

    def json_value(self) -> object:
        """The body as JSON; raises InvalidError if it is none."""
        return fields.parse(self.body)


@dataclass
class Response:
    """A response: bytes in memory, or the span [start, stop) of a file."""

    status: int = 204
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    file: str = ""
    span: tuple[int, int] = (0, 0)


def json_response(body: object, status: int = 200) -> Response:
    """A JSON response."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(status, text.encode(), [_JSON, NO_SNIFF])


Handler = Callable[..., Response]


class Route(NamedTuple):
    """An endpoint.

    Attributes:
        handler: called with the request and the path's variable parts.
        slow: run it in a worker thread.
        takes_bytes: the body may be large and is an object's content.
        form_field: the field of a form that holds the content, where one is taken.
        public: needs no credentials (health, and URLs that carry their own signature).
        admit: called as the handler is, before the body is read; raises what refuses the request.
    """

    handler: Handler
    slow: bool = False
    takes_bytes: bool = False
    form_field: str = ""
    public: bool = False
    admit: Callable[..., None] | None = None


Routes = dict[tuple[str, str], Route]
"""(method, path below the prefix with `*` for a variable part) → route."""


class App:
    """The ASGI application over a table of routes."""

    def __init__(self, routes: Routes, guard: Guard, blobs: BlobStore) -> None:
        self._guard = guard
        self._blobs = blobs
        self._workers = ThreadPoolExecutor(4, thread_name_prefix="lakefs-server")
        self._root: dict[str, Any] = {}
        for (method, path), route in routes.items():
            place = self._root
            for part in path.split("/"):
                place = place.setdefault(part, {})
            place[f"{method} "] = route

    def close(self) -> None:
        """Let running handlers finish and end the worker threads."""
        self._workers.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(scope, receive)
        except ApiError as error:
            if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.exception("%s %s failed", scope["method"], scope["path"])
            response = json_response(error.body, error.status)
        except (OSError, sqlite3.Error) as error:
            response = _storage_failure(error)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            response = json_response({"message": "internal error: see the server's log"}, 500)
        await _send(response, scope["method"], send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        route, parts = self._find(scope["method"], scope["raw_path"].decode("ascii", "replace"))
        headers = dict(scope["headers"])
        presented = headers.get(b"authorization", b"")
        user = "" if route.public else self._guard.user(presented)
        if user is None:
            return json_response({"message": "error authenticating request"}, 401)
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), True):
            query.setdefault(name, []).append(value)
        parameters.check(query, headers)
        request = Request(scope["method"], query, headers, user)
        if route.admit is not None:
            route.admit(request, *parts)
        request.base_url = _base_url(scope, headers)
        await self._read_body(request, receive, route)
        if route.slow or len(request.body) > _AT_ONCE_BYTES:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers, route.handler, request, *parts)
        return route.handler(request, *parts)

    def _find(self, method: str, path: str) -> tuple[Route, list[str]]:
        if not path.startswith(PREFIX):
            return _NO_ENDPOINT, []
        place = self._root
        parts: list[str] = []
        for part in path[len(PREFIX) :].split("/"):
            found = place.get(part) if part != "*" else None
            if found is None and part:
                found = place.get("*")
                parts.append(unquote(part))
            if not isinstance(found, dict):
                return _NO_ENDPOINT, []
            place = found
        return place.get(f"{method} ", _NO_ENDPOINT), parts

    async def _read_body(self, request: Request, receive: Receive, route: Route) -> None:
        request.content_type = request.header("content-type")
        form = None
        if route.form_field and request.content_type.startswith("multipart/"):
            form = FormField(request.content_type, route.form_field)
        most = _IN_MEMORY_BYTES if route.takes_bytes else _MOST_JSON_BYTES
        request.body, more = await _gather(receive, most)
        if more and not route.takes_bytes:
            raise ApiError(413, f"the request's body has more than {_MOST_JSON_BYTES} bytes")
        if form is not None:
            request.body = form.take(request.body)
        if more:
            request.blob = await self._spool(request.body, receive, form)
        if form is not None:
            request.content_type = form.finish()

    async def _spool(self, begun: bytes, receive: Receive, form: FormField | None) -> Blob:
        """Store a body that is too large for memory; `begun` is what has come of its content.

        A megabyte is received while a worker thread hashes and writes the one before.
        """
        loop = asyncio.get_running_loop()
        with self._blobs.writer() as writer:
            written = loop.run_in_executor(self._workers, writer.write, begun)
            try:
                more = True
                while more:
                    data, more = await _gather(receive, _IN_MEMORY_BYTES)
                    await written
                    content = data if form is None else form.take(data)
                    written = loop.run_in_executor(self._workers, writer.write, content)
            finally:
                await written  # leaving the context closes the file that the worker writes to
            if form is not None:
                form.finish()  # before the bytes are kept
            return await loop.run_in_executor(self._workers, writer.finish)


async def _gather(receive: Receive, most: int) -> tuple[bytes, bool]:
    """More of a body, up to some more than so many bytes, and whether there is still more."""
    pieces: list[bytes] = []
    size = 0
    more = True
    while more and size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidError("the client went away in the middle of the request's body")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = message.get("more_body", False)
    return b"".join(pieces), more


def _no_endpoint(*_: object) -> NoReturn:
    raise NotFoundError("invalid API endpoint: the API lies under /api/v1")


# A route as any other, so that nobody learns without a key which endpoints there are.
_NO_ENDPOINT = Route(_no_endpoint, admit=_no_endpoint)


def _base_url(scope: Scope, headers: dict[bytes, bytes]) -> str:
    """Where this client reaches the API: a link by the server's own name may lead it nowhere.

    A proxy that speaks TLS for the server says so in `X-Forwarded-Proto`. A client that lies in
    either header is given links that lead itself astray, and nobody else.
    """
    host, port = scope["server"]
    called = headers.get(b"host") or f"{host}:{port}".encode()
    if not _HOST.fullmatch(called):
        raise InvalidError("host: invalid value: give a name or an address, and a port")
    scheme = "https" if headers.get(b"x-forwarded-proto") == b"https" else "http"
    return f"{scheme}://{called.decode()}{PREFIX}"


def _storage_failure(error: OSError | sqlite3.Error) -> Response:
    full = (
        error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError)
        else getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )
    if full:
        message = "no space left on the disk that holds the lake: free some and try again"
        return json_response({"message": message}, 507)
    read_only = (
        error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        if isinstance(error, OSError)
        else (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_READONLY
    )
    if read_only:
        message = "the lake's folder cannot be written: correct its permissions and try again"
        return json_response({"message": message}, 403)
    logger.error("storage failed", exc_info=error)
    return json_response({"message": "the lake's storage failed: see the server's log"}, 500)


async def _send(response: Response, method: str, send: Send) -> None:
    start, stop = response.span
    size = stop - start if response.file else len(response.body)
    headers = response.headers
    if response.status not in (204, 304):
        headers = [*headers, (b"content-length", str(size).encode())]
    body = response.body
    if response.file and method != "HEAD" and size <= _SEND_BYTES:
        body = _read_span(response.file, start, stop)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.file and method != "HEAD" and size > _SEND_BYTES:
        with Path(response.file).open("rb") as file:
            file.seek(start)
            while start < stop:
                body = file.read(min(_SEND_BYTES, stop - start))
                start += len(body)
                more = start < stop
                await send({"type": "http.response.body", "body": body, "more_body": more})
        return
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _read_span(path: str, start: int, stop: int) -> bytes:
    with Path(path).open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(stop - start)
