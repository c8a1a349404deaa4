"""A Postgres of the test's own, where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ports import free_port
from required import program

USER, PASSWORD = "dagster", "a secret & more"


@contextmanager
def postgres(administrator: str = USER) -> Iterator[int]:
    """Run a server on 127.0.0.1; its port. Debian keeps the programs for that off the `PATH`.

    Args:
        administrator: Its only user, with `PASSWORD`.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    binaries = Path(program("pg_ctl", "postgresql", folders)).resolve().parent
    # It refuses to run as root, and the folder of a test is its owner's alone.
    root = os.geteuid() == 0
    user = {"user": "postgres"} if root else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    port = free_port()
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if root:
            for place in (folder, secret):
                shutil.chown(place, "postgres")
        data = folder / "data"
        make = [
            *("initdb", "-D", data, "-U", administrator, "-A", "scram-sha-256"),
            f"--pwfile={secret}",
        ]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -k {folder}"
        start = ["pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"]
        for name, *arguments in (make, start):
            subprocess.run(
                [binaries / name, *arguments],
                check=True,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                **user,
            )
        try:
            yield port
        finally:
            stop = [binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
    finally:
        shutil.rmtree(folder)
