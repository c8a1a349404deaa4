"""A Postgres of one's own, for benchmarks and for tests: fresh, on loopback, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, PASSWORD = "dagster", "a secret & more"
PROGRAM = "pg_ctl"
FOLDERS = tuple(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
"""Where Debian keeps Postgres's programs, off the `PATH`."""


def installed() -> Path | None:
    """Where `pg_ctl` is; None if no Postgres is installed."""
    found = shutil.which(PROGRAM, path=os.pathsep.join([os.environ["PATH"], *map(str, FOLDERS)]))
    return Path(found) if found else None


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        programs: The folder of its programs.
        folder: Its own folder.
        options: What its programs are started with.
    """

    port: int
    programs: Path
    folder: Path
    options: dict[str, Any]

    def control(self, *arguments: str) -> None:
        """Have `pg_ctl` do something, `restart` say, and wait until it is done."""
        subprocess.run(
            [self.programs / PROGRAM, "-D", self.folder / "data", "-w", *arguments],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **self.options,
        )

    def storages(self, kinds: dict[str, tuple[str, str]], params: dict[str, str]) -> dict[str, Any]:
        """The part of a `dagster.yaml` that has storages record here.

        Args:
            kinds: Module and class of each, by what `dagster.yaml` calls it.
            params: Parameters of the connection.
        """
        database = {
            "username": USER,
            "password": PASSWORD,
            "hostname": "127.0.0.1",
            "port": self.port,
            "db_name": "postgres",
            # SQLAlchemy 2.1 takes `postgresql` alone for another driver than Dagster's.
            "scheme": "postgresql+psycopg2",
            "params": params,
        }
        return {
            storage: {"module": module, "class": name, "config": {"postgres_db": database}}
            for storage, (module, name) in kinds.items()
        }


@contextmanager
def postgres_server(
    pg_ctl: Path, *, administrator: str = USER, durable: bool = True
) -> Iterator[PostgresServer]:
    """Run a server.

    Args:
        pg_ctl: The program that starts it.
        administrator: Its only user, with `PASSWORD`.
        durable: Whether it syncs what it commits, as it does unless told otherwise.
    """
    # It refuses to run as root, and the folder is its owner's alone.
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = PostgresServer(
        port, pg_ctl.resolve().parent, folder, {"user": "postgres"} if root else {}
    )
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if root:
            for place in (folder, secret):
                shutil.chown(place, "postgres")
        made, synced = ("", "") if durable else ("--no-sync", "-c fsync=off")
        first = f"-U {administrator} -A scram-sha-256 --pwfile={secret} {made}"
        server.control("initdb", "-o", first)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} {synced} -k {folder}"
        server.control("-l", str(folder / "log"), "-o", options, "start")
        try:
            yield server
        finally:
            server.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
