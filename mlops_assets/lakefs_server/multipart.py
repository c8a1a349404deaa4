"""The one form that the API takes: `multipart/form-data` with an object's bytes in a field.

Belongs here: finding a field's bytes and type in a form that comes in pieces, so that an object of
any size passes through without being held. Does not: anything else of multipart. (The standard
library's e-mail parser rewrites line ends in binary content.)
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mlops_assets.lakefs_server.errors import InvalidError

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_MOST_HEAD_BYTES = 64 << 10


class FormField:
    """Takes a form piece by piece and gives the bytes of one of its fields.

    Args:
        content_type: The request's content type, which names the boundary.
        field: The field's name.

    Raises:
        InvalidError: The content type names no boundary.
    """

    def __init__(self, content_type: str, field: str) -> None:
        match = _BOUNDARY.search(content_type)
        if match is None:
            raise InvalidError("multipart form without a boundary")
        self._content_type = ""
        self._field = field
        self._mark = b"\r\n--" + match.group(1).encode("latin-1")
        self._wanted = re.compile(rb'[; ]name="?' + re.escape(field.encode()) + rb'"?(;|\r|$)')
        self._buffer = b"\r\n"  # the first boundary has no line before it
        self._step: Callable[[], bool] = self._pass_content
        self._taken: list[bytes] = []
        self._inside = False
        self._found = False

    def take(self, data: bytes) -> bytes:
        """What of the field comes with the next bytes of the form.

        Raises:
            InvalidError: A part's head does not end.
        """
        self._buffer += data
        self._taken = []
        while self._step():
            pass
        return b"".join(self._taken)

    def finish(self) -> str:
        """The field's content type, once the form has come to its end.

        Raises:
            InvalidError: The field was not in it, whole.
        """
        if not self._found or self._inside:
            raise InvalidError(f"multipart form without the field '{self._field}'")
        return self._content_type

    def _pass_content(self) -> bool:
        """Pass what comes before the next boundary, which may lie across two pieces."""
        at = self._buffer.find(self._mark)
        upto = at if at >= 0 else max(len(self._buffer) - len(self._mark) + 1, 0)
        if self._inside and upto:
            self._taken.append(self._buffer[:upto])
        self._buffer = self._buffer[upto + len(self._mark) if at >= 0 else upto :]
        if at < 0:
            return False
        self._inside = False
        self._step = self._pass_head
        return True

    def _pass_head(self) -> bool:
        """Pass a part's head; behind the last boundary stand two hyphens instead of one."""
        if self._buffer.startswith(b"--"):
            self._buffer = b""
            return False
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            if len(head) > _MOST_HEAD_BYTES:
                raise InvalidError("multipart form with a part whose head does not end")
            return False
        if not self._found and self._wanted.search(head):
            self._found = self._inside = True
            kind = re.search(rb"(?i)content-type:[ \t]*([^\r\n]+)", head)
            self._content_type = kind.group(1).decode("latin-1") if kind else ""
        self._buffer = rest
        self._step = self._pass_content
        return True
