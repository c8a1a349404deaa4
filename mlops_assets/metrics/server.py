"""`/metrics` over HTTP: to this machine as it is, to others for a token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer(ThreadingHTTPServer):
    """A server of two pages: the figures, and that it is alive.

    Args:
        address: Host and port.
        text: Makes the text of the figures.
        hangs: Says whether making it does not end.
        token: What a caller has to present; anybody is let in if None.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        text: Callable[[], bytes],
        hangs: Callable[[], bool],
        token: str | None,
    ) -> None:
        self.text = text
        self.hangs = hangs
        self._expected = None if token is None else f"Bearer {token}".encode()
        super().__init__(address, _Handler)

    def lets_in(self, authorization: str) -> bool:
        """Whether a caller presents the token; how long that takes tells nothing of it."""
        if self._expected is None:
            return True
        return hmac.compare_digest(authorization.encode("utf-8", "replace"), self._expected)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version = "mlops-assets"
    sys_version = ""
    # A caller that says nothing must not hold a thread for ever.
    timeout = 10

    def do_GET(self) -> None:
        """Answer a page."""
        path = self.path.partition("?")[0]
        if path == "/healthz" and self.server.hangs():
            # Whoever watches over the process starts it anew: no scrape gets an answer any more.
            told = b"a source does not answer: see the log, and start it again\n"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, told, "text/plain")
        elif path == "/healthz":
            self._answer(HTTPStatus.OK, b"ok\n", "text/plain")
        elif path != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, b"see /metrics\n", "text/plain")
        elif not self.server.lets_in(self.headers.get("Authorization", "")):
            self._answer(HTTPStatus.UNAUTHORIZED, b"a token is needed\n", "text/plain")
        else:
            self._answer_figures()

    def _answer_figures(self) -> None:
        try:
            text = self.server.text()
        except Exception as error:
            told = f"the figures cannot be made ({type(error).__name__}): the log says where\n"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, told.encode(), "text/plain")
            # The server writes it to the log.
            raise
        self._answer(HTTPStatus.OK, text, CONTENT_TYPE)

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a line for every scrape would bury what matters."""
