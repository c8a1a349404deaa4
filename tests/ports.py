"""Ports of this machine for servers that tests start."""

import socket


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
