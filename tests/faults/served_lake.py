"""A state directory's lake behind a proxy, on a server that can be killed and started again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faulty_proxy import FaultyProxy
from forked_workers import Worker, Workers


@dataclass
class ServedLake:
    """It.

    Attributes:
        home: The state directory.
        proxy: What steps reach the server through, always at one address.
        server: The server's process; None once it was killed.
        environment: What tells a step to go there.
    """

    home: Path
    proxy: FaultyProxy
    server: Worker | None
    environment: dict[str, str]
    workers: Workers

    def stop(self) -> None:
        """Kill the server; once is enough."""
        server, self.server = self.server, None
        if server is not None:
            server.kill()

    def restart(self) -> None:
        """Start another server in the place of one that was killed."""
        self.server = self.workers.start("serve", self.home)
        self.proxy.server = self.server.said()[0]


@contextmanager
def served(workers: Workers, home: Path) -> Iterator[ServedLake]:
    """Serve the lake of a state directory."""
    server = workers.start("serve", home)
    address, key, secret = server.said()
    with FaultyProxy(address) as proxy:
        environment = {
            "LAKECTL_SERVER_ENDPOINT_URL": proxy.address,
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": key,
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": secret,
        }
        lake = ServedLake(home, proxy, server, environment, workers)
        try:
            yield lake
        finally:
            lake.stop()
