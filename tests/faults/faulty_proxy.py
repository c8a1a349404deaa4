"""A proxy between a client and a lakeFS server that loses requests and answers when told to."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Kind = Literal["no request", "no answer", "late request", "delay", "500", "503", "503 after"]
"""What happens to a call: it never reaches the server; it does and its answer is lost; it does long
after the client gave it up for lost; it takes longer; the server, or a gateway before it, says that
it failed; a gateway says so of a call that reached the server."""

CALLS = {
    "branch create": r"POST .*/branches$",
    "upload": r"POST .*/objects\?",
    "delete": r"POST .*/objects/delete",
    "commit": r"POST .*/commits$",
    "merge": r"POST .*/merge/",
    "branch delete": r"DELETE .*/branches/",
    "read": r"GET .*/refs/",
}
"""The kinds of call that a transaction makes, by method and path."""

LATE_SECONDS = 0.3


@dataclass
class Fault:
    """What is to happen to calls.

    Attributes:
        call: One of `CALLS`.
        kind: What happens to it.
        times: To how many of them; the others pass.
        about: What their path must name; any if empty.
        struck: To how many it has happened.
    """

    call: str
    kind: Kind
    times: int = 1
    about: str = ""
    struck: int = 0

    def strikes(self, request: str) -> bool:
        """Whether it happens to this call, told by method and path."""
        meant = re.match(CALLS[self.call], request) and self.about in request
        if not meant or self.struck >= self.times:
            return False
        self.struck += 1
        return True


@dataclass
class FaultyProxy:
    """Listens on a loopback port and passes calls to a server, but for those that it spoils.

    Attributes:
        server: The address of the server behind it; may change while it listens.
        fault: What to spoil; nothing if None.
        spoilt: Called when the fault has struck, right before the client learns of it.
    """

    server: str
    fault: Fault | None = None
    spoilt: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: ThreadingHTTPServer = field(init=False)

    def __enter__(self) -> Self:
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def strike(self, request: str) -> Kind | None:
        """What is to happen to a call, told by method and path; None if it passes."""
        with self._lock:
            return self.fault.kind if self.fault and self.fault.strikes(request) else None

    @property
    def address(self) -> str:
        """Where a client finds it, as it would find the server."""
        return f"http://127.0.0.1:{self._listener.server_port}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, proxy: FaultyProxy, *arguments: Any) -> None:
        self._proxy = proxy
        super().__init__(*arguments)

    def handle_any(self) -> None:
        body = self.body()
        kind = self._proxy.strike(f"{self.command} {self.path}")
        if kind in ("no request", "500", "503"):
            return self.spoil(kind)
        if kind == "late request":
            self.spoil(kind)
        if kind in ("delay", "late request"):
            time.sleep(LATE_SECONDS)
        try:
            status, headers, content = self.ask(body)
        except (OSError, http.client.HTTPException):
            return self.cut()
        if kind in ("no answer", "503 after"):
            return self.spoil(kind)
        return None if kind == "late request" else self.answer(status, headers, content)

    def spoil(self, kind: Kind) -> None:
        self._proxy.spoilt()
        if kind[:3].isdigit():
            self.answer(int(kind[:3]), [], b'{"message": "spoilt"}')
        else:
            self.cut()

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        behind = http.client.HTTPConnection(self._proxy.server.removeprefix("http://"))
        del self.headers["Transfer-Encoding"], self.headers["Content-Length"]
        try:
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            behind.close()

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the base's names

    def log_message(self, *_: Any) -> None:
        pass
