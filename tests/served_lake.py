"""`mlops-assets lakefs serve` as a process of its own, and a key to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from command_line import COMMAND, Ended, environment
from ports import free_port

Command = Callable[..., Ended]


def new_key(command: Command, home: Path) -> dict[str, str]:
    ended = command("lakefs", "key", "create", "--json", MLOPS_HOME=home)
    assert ended.code == 0
    return dict(json.loads(ended.out))


@contextmanager
def served(home: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The command as a process of its own; its port once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "lakefs", "serve", "--port", str(port), *options],
        env=environment(MLOPS_HOME=home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield port, process
    finally:
        process.kill()
        process.communicate()
