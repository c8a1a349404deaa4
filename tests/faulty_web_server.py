"""A real web server on loopback that keeps files and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    first_byte: int
    sent: int = 0


@dataclass
class WebServer:
    """What the server keeps, and how it is to misbehave.

    Attributes:
        url: Its address.
        files: The content of each path.
        etags: The entity tag of each path that has one of its own; a digest of the content else.
        redirects: Where each path leads.
        statuses: What the next requests of a path are answered with, before any file.
        retry_after: What those answers ask to wait.
        cut_after: How many bytes of a body are sent before the connection breaks, of the next
            requests.
        pause: Seconds before the last byte of a body, or before every block if `drip`.
        ranges: Whether a part of a file can be asked for.
        tagged: Whether answers name the file's version.
        sized: Whether answers name the file's length.
        chunked: Whether bodies are sent in chunks, the last of which tells their end.
        most_of_a_rest: How many bytes of a rest are given at once.
        asked: Every request that came.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    retry_after: str = ""
    cut_after: list[int] = field(default_factory=list)
    pause: float = 0.0
    ranges: bool = True
    tagged: bool = True
    sized: bool = True
    chunked: bool = False
    most_of_a_rest: int = 1 << 30
    asked: list[Asked] = field(default_factory=list)

    def etag(self, path: str) -> str:
        """How a file's version is named."""
        digest = hashlib.sha256(self.files[path]).hexdigest()[:12]
        return self.etags.get(path, f'"{digest}"')

    def bodies(self, path: str) -> list[Asked]:
        """The requests that were sent some of a file."""
        return [it for it in self.asked if it.path == path and it.method == "GET" and it.sent]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: WebServer

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""

    def _answer(self) -> None:
        told, path = self.told, self.path
        asked = Asked(self.command, path, 0)
        told.asked.append(asked)
        if told.statuses.get(path):
            return self._short(told.statuses[path].pop(0))
        if path in told.redirects:
            return self._short(302, Location=told.redirects[path])
        if path not in told.files:
            return self._short(404)
        content, etag = told.files[path], told.etag(path)
        if told.tagged and self.headers.get("If-None-Match") == etag:
            return self._short(304)
        status = 200
        wanted = self.headers.get("Range", "")
        if told.ranges and wanted and self.headers.get("If-Range", etag) == etag:
            asked.first_byte = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206
            if asked.first_byte >= len(content):
                return self._short(416, **{"Content-Range": f"bytes */{len(content)}"})
        self._send(status, content, etag, asked)
        return None

    def _send(self, status: int, content: bytes, etag: str, asked: Asked) -> None:
        told = self.told
        body = content[asked.first_byte :]
        if status == 206:
            body = body[: told.most_of_a_rest]
        self.send_response(status)
        if told.tagged:
            self.send_header("ETag", etag)
        if status == 206:
            last = asked.first_byte + len(body) - 1
            self.send_header("Content-Range", f"bytes {asked.first_byte}-{last}/{len(content)}")
        if told.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif told.sized:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command == "HEAD":
            return
        cut = told.cut_after.pop(0) if told.cut_after else len(body)
        try:
            self.wfile.write(body[: min(cut, len(body) - 1)])
            self.wfile.flush()
            asked.sent = min(cut, len(body) - 1)
            if cut >= len(body):
                time.sleep(told.pause)
                self.wfile.write(body[-1:])
                asked.sent = len(body)
        except ConnectionError:
            pass

    def _short(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.told.retry_after and status >= 400:
            self.send_header("Retry-After", self.told.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Run a server that keeps nothing yet."""
    told = WebServer()
    handler = type("Handler", (_Handler,), {"told": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield told
        server.shutdown()
        thread.join()
