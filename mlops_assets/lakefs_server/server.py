"""The server as a thread of the calling process: for that process alone, or for others to reach.

Belongs here: starting, stopping, and the endpoint to hand to a client. Does not: what it answers.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from mlops_assets.lakefs_server.errors import NoAccessKeyError

if TYPE_CHECKING:
    import uvicorn

    from mlops_assets.lakefs_server.asgi import App
    from mlops_assets.lakefs_server.credentials import Guard
    from mlops_assets.lakefs_server.store import Store

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 30.0
_IDLE_SECONDS = 600  # a pooled client connection closed under a request would fail the request
_END_SECONDS = 10  # a client that stopped reading must not keep a served store from ending


class Endpoint(NamedTuple):
    """What an official client needs to reach the server."""

    url: str
    access_key_id: str
    secret_access_key: str


class EmbeddedServer:
    """A lakeFS-compatible server over one store directory, for this process alone.

    Every process that needs the store starts one of its own, on a free loopback port and with a
    key that lives in its memory; any number may share a directory at once, on one machine.
    Stopping it, or killing the process, leaves the store whole.

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
        self._running: tuple[_Running, Endpoint] | None = None

    def start(self) -> Endpoint:
        """Start the server if this process has not yet, and say where it is."""
        from mlops_assets.lakefs_server.credentials import OwnKey

        with self._lock:
            if self._running is None or self._running[0].process != os.getpid():
                own = OwnKey()
                store = _open_store(self._state_dir)
                running = _start(store, own, _listener(_LOOPBACK, 0), pre_sign=self._pre_sign)
                self._running = running, Endpoint(running.url, *own.key)
            return self._running[1]

    def stop(self) -> None:
        """Answer the requests in progress, then free the port and every file. Idempotent."""
        with self._lock:
            running, self._running = self._running, None
            if running is not None and running[0].process == os.getpid():
                running[0].stop()

    def __enter__(self) -> Endpoint:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class ExposedServer:
    """A lakeFS-compatible server over one store directory, for others who hold a key of the store.

    A context manager that serves from its start to its end.

    Args:
        state_dir: the store directory, made if missing.
        host: the address to listen on.
        port: the port; a free one if 0.
        pre_sign: hide local paths and give signed URLs, as a lakeFS on S3 does.

    Attributes:
        url: where it answers, once it runs.

    Raises:
        NoAccessKeyError: (when it starts) the store has no access key, so nobody could be let in.
        StoreFormatError: (when it starts) the directory was written by a newer version.
        OSError: (when it starts) the address is none of this machine's, or the port is taken.
    """

    url: str

    def __init__(self, state_dir: Path, *, host: str, port: int, pre_sign: bool) -> None:
        self._state_dir = Path(state_dir).resolve()
        self._host = host
        self._port = port
        self._pre_sign = pre_sign
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        from mlops_assets.lakefs_server.credentials import AccessKeys

        with ExitStack() as undo:
            store = _open_store(self._state_dir)
            undo.callback(store.database.close)
            keys = AccessKeys(store.database)
            if not keys.known():
                raise NoAccessKeyError(f"the lake in {self._state_dir} has no access key")
            listener = undo.enter_context(_listener(self._host, self._port))
            self._running = _start(
                store, keys, listener, pre_sign=self._pre_sign, end_seconds=_END_SECONDS
            )
            undo.pop_all()
        self.url = self._running.url
        return self

    def serve(self) -> None:
        """Return when the server ends by itself, which it should not."""
        if self._running is not None:
            self._running.thread.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()


class _Running(NamedTuple):
    process: int
    url: str
    server: uvicorn.Server
    thread: threading.Thread
    app: App
    store: Store

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.app.close()
        self.store.database.close()


def _open_store(state_dir: Path) -> Store:
    from mlops_assets.lakefs_server.store import Store

    state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(state_dir)
    if os.access(state_dir, os.W_OK):
        store.blobs.drop_stale_drafts()
    return store


def _start(
    store: Store,
    guard: Guard,
    listener: socket.socket,
    *,
    pre_sign: bool,
    end_seconds: int | None = None,
) -> _Running:
    import uvicorn

    from mlops_assets.lakefs_server.api_objects import ObjectApi
    from mlops_assets.lakefs_server.api_repositories import RepositoryApi
    from mlops_assets.lakefs_server.api_versions import VersionApi
    from mlops_assets.lakefs_server.asgi import App
    from mlops_assets.lakefs_server.catalog import Catalog
    from mlops_assets.lakefs_server.credentials import signing_key
    from mlops_assets.lakefs_server.protocol import Protocol
    from mlops_assets.lakefs_server.signing import Addresses

    catalog = Catalog(store)
    addresses = Addresses(
        store.state_dir, store.blobs, signing_key(store.state_dir), pre_sign=pre_sign
    )
    routes = {
        **RepositoryApi(
            store, catalog, pre_sign=pre_sign, description=addresses.description
        ).routes(),
        **VersionApi(store, catalog).routes(),
        **ObjectApi(store, addresses).routes(),
    }
    app = App(routes, guard, store.blobs)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=end_seconds,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, args=([listener],), name="lakefs-server", daemon=True
    )
    thread.start()
    patience = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > patience:
            raise RuntimeError(
                f"the lake's server on {store.state_dir} did not start: see the log above"
            )
        time.sleep(0.002)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return _Running(os.getpid(), f"http://{shown}:{port}", server, thread, app, store)


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket whose connections send at once.

    A response leaves in two writes. Without TCP_NODELAY the second waits for the client's delayed
    acknowledgement, and every request took 44 ms; asyncio sets it only where the socket names TCP.

    Raises:
        OSError: The address is none of this machine's, or the port is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A port of which the kernel still waits for late packets is free; one listened at is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener
