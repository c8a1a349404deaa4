"""Those who are told: a web server and a mail server, which also fail as asked."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """A service that takes JSON.

    Attributes:
        url: Its address, the last part of which is a secret.
        status: What it answers.
        delay: Seconds until it does.
        taken: What it accepted.
        refused: How often it answered otherwise than with success.
    """

    url: str
    status: int = 200
    delay: float = 0.0
    taken: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(state.delay)
            if state.status == 200:
                state.taken.append(json.loads(body))
            else:
                state.refused += 1
            self.send_response(state.status)
            if 300 <= state.status < 400:
                self.send_header("Location", state.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Receiver(f"http://127.0.0.1:{server.server_port}/services/s3cret")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server.

    Attributes:
        port: Where it listens.
        mails: What it took, each as it came over the wire.
        logins: The AUTH commands that it got, and whether the line was encrypted.
    """

    port: int
    mails: list[str] = field(default_factory=list)
    logins: list[tuple[str, bool]] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


@contextmanager
def mailbox(  # noqa: C901 - the commands of a protocol, one by one
    context: ssl.SSLContext | None = None,
) -> Iterator[Mailbox]:
    """A mail server; with a context it offers STARTTLS."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            encrypted = False
            self.say("220 mailbox")
            while line := self.rfile.readline().decode().strip():
                command = line.split(" ")[0].upper()
                if command in ("EHLO", "HELO"):
                    offers = ["AUTH PLAIN"] if encrypted or context is None else ["STARTTLS"]
                    self.say("250-mailbox", *(f"250 {offer}" for offer in offers))
                elif command == "STARTTLS" and context is not None:
                    self.say("220 go on")
                    wrapped = context.wrap_socket(self.request, server_side=True)
                    self.rfile, self.wfile = wrapped.makefile("rb"), wrapped.makefile("wb", 0)
                    encrypted = True
                elif command == "AUTH":
                    state.logins.append((line, encrypted))
                    self.say("235 welcome")
                elif command == "DATA":
                    self.say("354 go on")
                    taken = []
                    while (row := self.rfile.readline().decode()) != ".\r\n":
                        taken.append(row)
                    state.mails.append("".join(taken))
                    self.say("250 taken")
                elif command == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    if command == "RCPT":
                        state.recipients.append(line)
                    self.say("250 ok")

        def say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        state = Mailbox(server.server_address[1])
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()
