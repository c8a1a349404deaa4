"""What the server needs of uvicorn's own protocol, on bare connections."""

from __future__ import annotations

import socket

import pytest
from clients import Raw

HEALTH = b"GET /api/v1/healthcheck HTTP/1.1\r\nHost: lake\r\n\r\n"
GARBAGE = b"\x00\x01 this is no request\r\n\r\n" * 100


def spoken(raw: Raw, sent: bytes) -> bytes:
    """What the server says to bytes, until it closes the connection."""
    host, port = raw.endpoint.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize("requests", [1, 3])
def test_whole_requests_are_answered_before_what_follows_is_refused(
    raw: Raw, requests: int
) -> None:
    answer = spoken(raw, HEALTH * requests + GARBAGE)
    assert answer.startswith(b"HTTP/1.1 204")
    assert answer.count(b"HTTP/1.1 204") == requests
    assert b"HTTP/1.1 5" not in answer


def test_what_is_no_request_is_refused_at_once(raw: Raw) -> None:
    assert spoken(raw, GARBAGE).startswith(b"HTTP/1.1 400")


def test_a_body_that_breaks_off_its_own_framing_is_refused_at_once(raw: Raw) -> None:
    head = HEALTH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    answer = spoken(raw, head.replace(b"GET", b"POST") + b"no length\r\n")
    assert b"HTTP/1.1 4" in answer
