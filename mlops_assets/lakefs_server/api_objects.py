"""Endpoints of objects: upload, read, stat, list, delete, copy, and writing beside the server.

Belongs here: reading these requests and writing their answers as the lakeFS API words them, byte
ranges and signed URLs included. Does not: the rules (`objects`), the bytes (`blobs`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

from mlops_assets.lakefs_server import placements, refs
from mlops_assets.lakefs_server.asgi import (
    NO_SNIFF,
    Request,
    Response,
    Route,
    Routes,
    json_response,
)
from mlops_assets.lakefs_server.errors import ApiError, InvalidError, NotFoundError
from mlops_assets.lakefs_server.objects import Listed, Objects, Precondition
from mlops_assets.lakefs_server.paging import page_of, paged
from mlops_assets.lakefs_server.signing import Addresses
from mlops_assets.lakefs_server.store import Store
from mlops_assets.lakefs_server.tree import Entry

_META = b"x-lakefs-meta-"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_RANGES = re.compile(r"bytes=[0-9]*-[0-9-]*(?:(?:, ?| )[0-9]*-[0-9-]*)*(?:, ?| )?")
_MOST_DELETED = 1000
_DEFAULT_TYPE = "application/octet-stream"

# What a browser shows instead of saving, as lakeFS has it: nothing here is its own page, since
# every request needs a key that no browser sends by itself.
_SHOWN_INLINE = frozenset(
    [f"image/{kind}" for kind in ("jpeg", "jpg", "png", "gif", "webp", "svg+xml")]
    + [f"text/{kind}" for kind in ("plain", "markdown", "x-markdown", "html", "css")]
    + [f"text/{kind}" for kind in ("javascript", "xml")]
    + [f"application/{kind}" for kind in ("pdf", "javascript", "json", "xml")]
    + ["video/mp4", "video/webm", "audio/mpeg", "audio/wav", "audio/webm"]
)


class ObjectApi:
    """Handlers over one store; `addresses` says where clients are told an object lies."""

    def __init__(self, store: Store, addresses: Addresses) -> None:
        self._store = store
        self._addresses = addresses

    def routes(self) -> Routes:
        """This part of the route table."""
        branch, ref = "repositories/*/branches/*", "repositories/*/refs/*"
        return {
            ("POST", f"{branch}/objects"): Route(
                self.upload, takes_bytes=True, form_field="content", admit=self.check_upload
            ),
            ("DELETE", f"{branch}/objects"): Route(self.delete),
            ("POST", f"{branch}/objects/delete"): Route(self.delete_many, slow=True),
            ("POST", f"{branch}/objects/copy"): Route(self.copy),
            ("GET", f"{branch}/staging/backing"): Route(self.place),
            ("PUT", f"{branch}/staging/backing"): Route(self.link, slow=True),
            ("GET", f"{ref}/objects"): Route(self.read),
            ("HEAD", f"{ref}/objects"): Route(self.read),
            ("GET", f"{ref}/objects/stat"): Route(self.stat),
            ("GET", f"{ref}/objects/ls"): Route(self.list_objects),
            ("GET", "signed/*"): Route(self.read_signed, public=True, admit=self.check_read),
            ("HEAD", "signed/*"): Route(self.read_signed, public=True, admit=self.check_read),
            ("PUT", "signed/*"): Route(
                self.write_signed, takes_bytes=True, public=True, admit=self.check_write
            ),
        }

    def upload(self, request: Request, name: str, branch: str) -> Response:
        """Stage an object: a raw body, or the form field `content`."""
        objects = self._objects(name)
        path = request.text("path")
        found = objects.writable_branch(branch, force=request.flag("force"))
        blob = request.blob or self._store.blobs.put(request.body)
        kind = request.content_type or _DEFAULT_TYPE
        entry = Entry(*blob, time.time(), kind, _metadata_of(request))
        objects.stage(found, path, entry, _precondition(request))
        return json_response(self._body(path, entry), 201)

    def check_upload(self, request: Request, name: str, branch: str) -> None:
        """Refuse what cannot be staged before its bytes come."""
        refs.check_path(request.text("path"))
        repository = self._store.repository(name)
        self._store.branch(repository, branch)
        _precondition(request)
        Objects(self._store, repository).writable_branch(branch, force=request.flag("force"))

    def delete(self, request: Request, name: str, branch: str) -> Response:
        """Stage a removal; no error if there is no such object."""
        path = refs.check_path(request.text("path"))
        objects = self._objects(name)
        objects.writable_branch(branch, force=request.flag("force"))
        objects.delete(branch, [path])
        return Response(204)

    def delete_many(self, request: Request, name: str, branch: str) -> Response:
        """Stage removals, all or none.

        As lakeFS, this answers 200 whatever happens: what keeps the paths from being removed is
        listed for each of them, and nothing at all if there is no such branch, or if one is empty.
        """
        paths = request.json().texts("paths")
        if len(paths) > _MOST_DELETED:
            raise InvalidError(f"request size exceeded, max paths is set to {_MOST_DELETED}")
        errors: list[dict[str, Any]] = []
        try:
            refs.check_branch(branch)
            if all(map(refs.check_path, filter(None, paths))) and all(paths):
                objects = self._objects(name)
                objects.writable_branch(branch, force=request.flag("force"))
                objects.delete(branch, paths)
        except NotFoundError:
            pass
        except ApiError as refusal:
            status = 403 if refusal.status == 403 else 500
            told = {"status_code": status, "message": refusal.message}
            errors = [{"path": path, **told} for path in paths]
        return json_response({"errors": errors})

    def copy(self, request: Request, name: str, branch: str) -> Response:
        """Stage an object of any reference at another path: the same blob, no bytes are copied."""
        body = request.json()
        source_path = body.required("src_path")
        repository = self._store.repository(name)
        self._store.branch(repository, branch)
        if body.flag("shallow"):
            raise ApiError(501, "Not Implemented")
        objects = Objects(self._store, repository)
        source = objects.get(body.text("src_ref") or branch, source_path)
        path = refs.check_path(request.text("dest_path"))
        found = objects.writable_branch(branch, force=body.flag("force"))
        entry = source._replace(mtime=time.time())
        objects.stage(found, path, entry)
        return json_response(self._body(path, entry), 201)

    def read(self, request: Request, name: str, ref: str) -> Response:
        """An object's bytes, or (pre-signed) where to get them."""
        check_range(request.header("range"))
        entry = self._objects(name).get(ref, refs.check_path(request.text("path")))
        whole = request.method == "GET"
        if whole and request.header("if-none-match") == f'"{entry.etag}"':
            return Response(304)
        if whole and request.flag("presign"):
            url, _ = self._addresses.signed_url(request.base_url, "GET", entry.digest)
            return Response(302, headers=[(b"location", url.encode())])
        kind = entry.content_type if _is_header(entry.content_type) else _DEFAULT_TYPE
        headers = [
            (b"content-type", kind.encode()),
            (b"last-modified", formatdate(int(entry.mtime), usegmt=True).encode()),
            (b"cache-control", b"no-store, must-revalidate"),
        ]
        if whole:
            shown = b"inline" if entry.content_type in _SHOWN_INLINE else b"attachment"
            headers += [(b"content-disposition", shown), NO_SNIFF]
        else:
            headers.append((b"accept-ranges", b"bytes"))
        return self._span(request, entry.digest, entry.size, entry.etag, headers)

    def stat(self, request: Request, name: str, ref: str) -> Response:
        """What is known of an object."""
        path = refs.check_path(request.text("path"))
        entry = self._objects(name).get(ref, path)
        url = request.base_url if request.flag("presign") else ""
        shown = self._body(path, entry, presign=url)
        if not request.flag("user_metadata", default=True):
            shown["metadata"] = {}
        return json_response(shown)

    def list_objects(self, request: Request, name: str, ref: str) -> Response:
        """Objects by path, with a delimiter folded into common prefixes."""
        page = page_of(request)
        found = self._objects(name).listing(ref, page, request.text("delimiter"))
        with_metadata = request.flag("user_metadata", default=True)
        url = request.base_url if request.flag("presign") else ""

        def body(line: Listed[Entry]) -> dict[str, Any]:
            if line.found is None:
                return _prefix_body(line.path)
            shown = self._body(line.path, line.found, presign=url)
            if not with_metadata or not line.found.metadata:
                del shown["metadata"]
            return shown

        return paged(page, found, body, lambda line: line.path)

    def place(self, request: Request, name: str, branch: str) -> Response:
        """Where a client may put an object's bytes itself, to link them afterwards.

        As lakeFS, this asks for the repository only: what the branch says comes with the link.
        """
        path = refs.check_path(request.text("path"))
        self._objects(name)
        token = self._addresses.new_place(name, branch, path)
        address = self._addresses.of_place(token)
        body: dict[str, Any] = {"physical_address": address, "presigned_url": None}
        if request.flag("presign"):
            told = {"repository": name, "branch": branch}
            url, expiry = self._addresses.signed_url(request.base_url, "PUT", token, told)
            body |= {"presigned_url": url, "presigned_url_expiry": expiry}
        return json_response(body)

    def link(self, request: Request, name: str, branch: str) -> Response:
        """Stage an object whose bytes a client has put down itself."""
        body = request.json()
        body.check_present("staging")
        body.check_present("size_bytes")
        checksum = body.required("checksum").strip(' "')
        address = body.inner("staging").text("physical_address")
        path = refs.check_path(request.text("path"))
        objects = self._objects(name)
        token = self._addresses.check_place(address, name, branch, path)
        condition = _precondition(request)
        found = objects.writable_branch(branch, force=body.flag("force"))
        blob = placements.find(self._store, token, self._addresses.place_file(token))
        if checksum != blob.etag or body.number("size_bytes", blob.size) != blob.size:
            raise InvalidError(
                f"the bytes at {address} have MD5 {blob.etag} and {blob.size} bytes, "
                "not what the request says: put them down again"
            )
        content_type = body.text("content_type") or _DEFAULT_TYPE
        mtime = body.number("mtime") if body.holds("mtime") else time.time()
        entry = Entry(*blob, mtime, content_type, body.strings("user_metadata"))
        objects.stage(found, path, entry, condition)
        return json_response(self._body(path, entry))

    def read_signed(self, request: Request, digest: str) -> Response:
        """A blob's bytes, for whoever holds a signed URL that has not expired."""
        size = self._store.blobs.size(digest)
        if size is None:
            raise NotFoundError("no such object")
        headers = [(b"content-type", _DEFAULT_TYPE.encode())]
        return self._span(request, digest, size, digest, headers)

    def write_signed(self, request: Request, token: str) -> Response:
        """Put down bytes to be linked, for whoever holds a signed URL that has not expired."""
        blob = request.blob or self._store.blobs.put(request.body)
        placements.remember(self._store, token, blob)
        return Response(200, headers=[(b"etag", f'"{blob.etag}"'.encode())])

    def _objects(self, name: str) -> Objects:
        return Objects(self._store, self._store.repository(name))

    def check_read(self, request: Request, digest: str) -> None:
        """Let in who holds a signed URL to read a blob."""
        self._check_signature(request, "GET", digest)

    def check_write(self, request: Request, token: str) -> None:
        """Let in who holds a signed URL to put bytes down, before any of them is taken.

        A branch that does not exist is told here: the official client does not turn what the link
        answers afterwards into an error of its own, and the bytes would have come for nothing.
        """
        told = request.text("repository"), request.text("branch")
        self._check_signature(request, "PUT", token, told)
        repository, branch = told
        self._store.branch(self._store.repository(repository), branch)

    def _check_signature(
        self, request: Request, verb: str, name: str, told: Iterable[str] = ()
    ) -> None:
        self._addresses.check_signature(
            verb, name, request.text("expires"), request.text("signature"), told
        )

    def _body(self, path: str, entry: Entry, *, presign: str = "") -> dict[str, Any]:
        body: dict[str, Any] = {
            "path": path,
            "path_type": "object",
            "physical_address": "",
            "checksum": entry.etag,
            "size_bytes": entry.size,
            "mtime": int(entry.mtime),
            "metadata": entry.metadata,
            "content_type": entry.content_type,
        }
        if presign:
            url, expiry = self._addresses.signed_url(presign, "GET", entry.digest)
            body |= {"physical_address": url, "physical_address_expiry": expiry}
        else:
            body["physical_address"] = self._addresses.of_blob(entry.digest)
        return body

    def _span(
        self,
        request: Request,
        digest: str,
        size: int,
        etag: str,
        headers: list[tuple[bytes, bytes]],
    ) -> Response:
        """A file's bytes, whole or the one range asked for.

        Raises:
            ApiError: 410 they are not stored any more, or not all of them.
        """
        if self._store.blobs.size(digest) != size:
            raise ApiError(410, "the object's bytes are gone or cut short: put them down again")
        headers = [*headers, (b"etag", f'"{etag}"'.encode())]
        file = str(self._store.blobs.path(digest))
        asked = request.header("range")
        if not asked:
            return Response(200, headers=headers, file=file, span=(0, size))
        span = byte_range(asked, size)
        if span is None:
            refused = json_response({"message": "Requested Range Not Satisfiable"}, 416)
            refused.headers.append((b"content-range", f"bytes */{size}".encode()))
            return refused
        told = f"bytes {span[0]}-{span[1] - 1}/{size}"
        headers.append((b"content-range", told.encode()))
        return Response(206, headers=headers, file=file, span=span)


def check_range(header: str) -> None:
    """Raise InvalidError for a Range header that is no list of ranges of bytes."""
    if header and not _RANGES.fullmatch(header):
        raise InvalidError('parameter "Range" in header has an error: it is no range of bytes')


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The span [start, stop) that a Range header asks for of `size` bytes.

    None: more than one range, one that ends before it starts, or one beyond the end.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    return (start, stop) if start < stop else None


def _precondition(request: Request) -> Precondition | None:
    """What a request to stage says of the object that its path holds now.

    Ignored, `If-Match` would overwrite what it was sent to protect. lakeFS answers it with 501.
    """
    etag, none = request.header("if-match").strip(), request.header("if-none-match").strip()
    if none not in ("", "*") or (etag and none):
        raise ApiError(501, "Not Implemented")
    if none:
        return lambda present: present is None
    if etag:
        return lambda present: present is not None and etag in (present.etag, f'"{present.etag}"')
    return None


def _metadata_of(request: Request) -> dict[str, str]:
    return {
        name[len(_META) :].decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in request.headers.items()
        if name.startswith(_META)
    }


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _prefix_body(path: str) -> dict[str, Any]:
    return {
        "path": path,
        "path_type": "common_prefix",
        "physical_address": "",
        "checksum": "",
        "mtime": 0,
    }
