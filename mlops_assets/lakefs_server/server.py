"""The server as a thread of the calling process, on a free loopback port.

Belongs here: starting, stopping, and the endpoint to hand to a client. Does not: what it answers.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uvicorn

    from mlops_assets.lakefs_server.asgi import App
    from mlops_assets.lakefs_server.database import Database

_HOST = "127.0.0.1"
_START_SECONDS = 30.0
_IDLE_SECONDS = 600  # a pooled client connection closed under a request would fail the request


class Endpoint(NamedTuple):
    """What an official client needs to reach the server."""

    url: str
    access_key_id: str
    secret_access_key: str


class EmbeddedServer:
    """A lakeFS-compatible server over one store directory.

    Every process that needs the store starts one of its own; any number may share a directory at
    once, on one machine. Stopping it, or killing the process, leaves the store whole.

    Args:
        state_dir: the store directory, made if missing; it belongs to this server alone.
        pre_sign: hide local paths and give signed URLs, as a lakeFS on S3 does.

    Raises:
        StoreFormatError: (from `start`) the directory was written by a newer version.
    """

    def __init__(self, state_dir: Path, *, pre_sign: bool = False) -> None:
        self._state_dir = Path(state_dir).resolve()
        self._pre_sign = pre_sign
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def start(self) -> Endpoint:
        """Start the server if this process has not yet, and say where it is."""
        with self._lock:
            if self._running is None or self._running.process != os.getpid():
                self._running = _start(self._state_dir, pre_sign=self._pre_sign)
            return self._running.endpoint

    def stop(self) -> None:
        """Answer the requests in progress, then free the port and every file. Idempotent."""
        with self._lock:
            running, self._running = self._running, None
            if running is None or running.process != os.getpid():
                return
            running.server.should_exit = True
            running.thread.join()
            running.app.close()
            running.database.close()

    def __enter__(self) -> Endpoint:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Running(NamedTuple):
    process: int
    endpoint: Endpoint
    server: uvicorn.Server
    thread: threading.Thread
    app: App
    database: Database


def _start(state_dir: Path, *, pre_sign: bool) -> _Running:
    import uvicorn

    from mlops_assets.lakefs_server.api_objects import ObjectApi
    from mlops_assets.lakefs_server.api_repositories import RepositoryApi
    from mlops_assets.lakefs_server.api_versions import VersionApi
    from mlops_assets.lakefs_server.asgi import App
    from mlops_assets.lakefs_server.catalog import Catalog
    from mlops_assets.lakefs_server.credentials import load_or_create
    from mlops_assets.lakefs_server.signing import Addresses
    from mlops_assets.lakefs_server.store import Store

    state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(state_dir)
    store.blobs.drop_stale_drafts()
    credentials = load_or_create(state_dir)
    committer = credentials.access_key_id
    catalog = Catalog(store, committer)
    addresses = Addresses(state_dir, store.blobs, credentials, pre_sign=pre_sign)
    routes = {
        **RepositoryApi(store, catalog, pre_sign=pre_sign).routes(),
        **VersionApi(store, catalog, committer).routes(),
        **ObjectApi(store, addresses).routes(),
    }
    app = App(routes, credentials.authorization(), store.blobs)
    listener = _listener()
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, args=([listener],), name="lakefs-server", daemon=True
    )
    thread.start()
    patience = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > patience:
            raise RuntimeError(f"the lake's server on {state_dir} did not start: see the log above")
        time.sleep(0.002)
    url = f"http://{_HOST}:{listener.getsockname()[1]}"
    endpoint = Endpoint(url, credentials.access_key_id, credentials.secret_access_key)
    return _Running(os.getpid(), endpoint, server, thread, app, store.database)


def _listener() -> socket.socket:
    """A listening socket whose connections send at once.

    A response leaves in two writes. Without TCP_NODELAY the second waits for the client's delayed
    acknowledgement, and every request took 44 ms; asyncio sets it only where the socket names TCP.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((_HOST, 0))
    listener.listen(512)
    return listener
