"""One connection of a client, as uvicorn reads it, with one correction.

Belongs here: what of uvicorn's own protocol has to be otherwise. Its methods are not a public
interface; `tests/lakefs_server/test_protocol.py` says what we need of them.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Answers a whole request before what comes after it is found to be none.

    The official client, told by its caller of fewer bytes than it sends, has the rest follow the
    request. uvicorn then answered 400 at once and closed: whether the request was answered, by
    what it said, was a matter of how the bytes came in.
    """

    def send_400_response(self, msg: str) -> None:
        """Refuse what came, after the request before it."""
        pending = self.cycle is not None and not self.cycle.response_complete
        if pending and not self.cycle.more_body:
            self.cycle.keep_alive = False  # it closes the connection once it is answered
        else:
            super().send_400_response(msg)
