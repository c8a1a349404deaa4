"""The one form that the API takes: `multipart/form-data` with an object's bytes in a field.

Belongs here: finding a field's bytes and type in a form held in memory. Does not: anything else of
multipart. (The standard library's e-mail parser rewrites line ends in binary content.)
"""

from __future__ import annotations

import re

from mlops_assets.lakefs_server.errors import InvalidError

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


def form_file(body: bytes, content_type: str, field: str) -> tuple[bytes, str]:
    """The bytes and content type of a form's field; raises InvalidError if it has none."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise InvalidError("multipart form without a boundary")
    mark = b"\r\n--" + match.group(1).encode()
    wanted = re.compile(rb'[; ]name="?' + re.escape(field.encode()) + rb'"?(;|\r|$)')
    for part in (b"\r\n" + body).split(mark)[1:-1]:
        head, gap, content = part.partition(b"\r\n\r\n")
        if gap and wanted.search(head):
            kind = re.search(rb"(?i)content-type:[ \t]*([^\r\n]+)", head)
            return content, kind.group(1).decode("latin-1") if kind else "application/octet-stream"
    raise InvalidError(f"multipart form without the field '{field}'")
