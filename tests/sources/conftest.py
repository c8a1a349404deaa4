"""Servers that misbehave."""

from collections.abc import Iterator

import pytest
from faulty_web_server import WebServer, web_server


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as told:
        yield told
