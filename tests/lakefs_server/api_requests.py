"""Hostile requests, made from the official client's own methods and models.

Each of the client's methods is called with marks for arguments, by a client that sends nothing:
what it would have sent says the endpoint, its parameters, its headers and the model of its body.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import quote

import lakefs_sdk
from hypothesis import strategies as st
from pydantic.v1 import BaseModel, StrictBool, StrictInt
from pydantic.v1.fields import SHAPE_LIST, SHAPE_SINGLETON

SERVED = ("Branches", "Commits", "Config", "Objects", "Refs", "Repositories", "Staging", "Tags")
OTHERS = ("Actions", "Auth", "HealthCheck", "Import", "Internal", "Metadata")

PLACES = {
    "repository": "{repository}",
    "branch": "{branch}",
    "sourceRef": "{branch}",
    "destinationBranch": "{branch}",
    "ref": "{ref}",
    "leftRef": "{ref}",
    "rightRef": "{ref}",
    "commitId": "{ref}",
    "tag": "{tag}",
    "path": "{path}",
    "dest_path": "{path}",
    "src_path": "{path}",
    "src_ref": "{ref}",
    "source": "{ref}",
    "physical_address": "{place}",
    "checksum": "{checksum}",
    "digest": "{digest}",
    "token": "{token}",
    "expires": "9999999999",
}
"""What of the store under test stands for a parameter or a field."""


@dataclass(frozen=True)
class Operation:
    """An endpoint, as the official client calls it."""

    method: str
    path: str
    query: tuple[str, ...]
    headers: tuple[str, ...]
    body: type[BaseModel] | None
    takes_bytes: bool

    @property
    def parts(self) -> list[str]:
        """The names of the variable parts of its path."""
        return [part.strip("{}") for part in self.path.split("/") if part.startswith("{")]


@dataclass(frozen=True)
class HostileRequest:
    """A request whose `{repository}` and the like still stand for names of the store under test.

    Attributes:
        key: Which key it comes with: `good`, `bad` or `none`.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    key: str

    def filled(self, names: Mapping[str, str]) -> HostileRequest:
        """The request with names of a store in their places."""
        return replace(
            self,
            target=_filled(self.target, {name: quote(text) for name, text in names.items()}),
            body=_filled(self.body.decode("latin-1"), names).encode("latin-1"),
        )


_SIGNED_QUERY = ("expires", "signature", "repository", "branch")
SIGNED = [
    Operation("GET", "signed/{digest}", _SIGNED_QUERY, ("Range",), None, takes_bytes=False),
    Operation("HEAD", "signed/{digest}", _SIGNED_QUERY, (), None, takes_bytes=False),
    Operation("PUT", "signed/{token}", _SIGNED_QUERY, (), None, takes_bytes=True),
]
"""Where links lead, which the client takes from an answer."""


class _Recorder(lakefs_sdk.ApiClient):
    """A client that notes what it would send."""

    sent: dict[str, Any]

    def call_api(self, path: str, method: str, *parts: Any, **more: Any) -> None:  # type: ignore[override]
        _, query, headers = parts[:3]
        self.sent = {"path": path, "method": method, "query": query, "headers": headers, **more}


@cache
def operations(group: str) -> list[Operation]:
    """The endpoints of one group of the client's methods."""
    api = getattr(lakefs_sdk, f"{group}Api")
    methods = inspect.getmembers(api, lambda member: hasattr(member, "raw_function"))
    return [_operation(api, method) for name, method in methods if name.endswith("_http_info")]


def _operation(api: type, method: Any) -> Operation:
    recorder = _Recorder(lakefs_sdk.Configuration("http://nowhere"))
    fields = method.vd.model.__fields__
    wanted = [
        name
        for name in inspect.signature(method.raw_function).parameters
        if name not in ("self", "kwargs")
    ]
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        method.raw_function(api(recorder), **dict.fromkeys(wanted, "mark"))
    sent = recorder.sent
    models = [
        fields[name].type_
        for name in wanted
        if inspect.isclass(fields[name].type_) and issubclass(fields[name].type_, BaseModel)
    ]
    return Operation(
        sent["method"],
        sent["path"].lstrip("/"),
        tuple(name for name, _ in sent["query"]),
        tuple(name for name in sent["headers"] if name not in ("Accept", "Content-Type")),
        models[0] if models and sent["body"] is not None else None,
        takes_bytes=bool(sent["files"]),
    )


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, found in names.items():
        text = text.replace(f"{{{name}}}", found)
    return text


# -- hostile values -------------------------------------------------------------------------------

NASTY = [
    *("", " ", ".", "..", "/", "//", "../../../../etc/passwd", "/etc/passwd", "a/../../b", "~root"),
    *("signing.key", "../signing.key", "metadata.sqlite", "format", "incoming/../signing.key"),
    *("\x00", "a\x00b", "\x7f", "\x1b[31m", "\r\nSet-Cookie: a=b", "\ufeff", "\u202e", "💥" * 300),
    *("%2e%2e%2f", "%00", "%ff", "%", "%%", "+", "a b", "ü" * 600, "x" * 1025, "x" * 70_000),
    *(
        "'; DROP TABLE commits; --",
        '" OR 1=1',
        "*",
        "_",
        "[a-z]*",
        "{}",
        "$(id)",
        "`id`",
        "${HOME}",
    ),
    *(
        "main~",
        "main~1",
        "main~999999999",
        "main~" + "9" * 5000,
        "main^2",
        "main@",
        "main$",
        "main@~",
    ),
    *("~", "^", "@", "$", "~1", "main~-1", "main~1.5", "main~٣", "abcdef", "0", "f" * 64, "f" * 65),
    *(
        "-1",
        "0",
        "1",
        "1001",
        str(2**31),
        str(2**63),
        "1" * 5000,
        "1e309",
        "NaN",
        "٣",
        "0x10",
        "1_0",
    ),
    *("true", "True", "false", "null", "undefined", "*", "bytes=0-", "bytes=-1", "bytes=5-2"),
    *(
        "bytes=0-0,1-1",
        "bytes=" + "9" * 5000 + "-",
        "bytes=--1",
        "bytes=²-",
        "items=0-1",
        '""',
        "W/",
    ),
    *("local://", "s3://lake", "local:///etc/passwd", "s3://lake/incoming/" + "0" * 96, "http://x"),
    *("2013-01-01", "2013-01-01T00:00:00Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59+14:00"),
    *("two_dot", "three_dot", "reset", "object", "common_prefix", "source-wins", "dest-wins"),
]
REAL = [
    f"{{{name}}}" for name in ("repository", "branch", "ref", "tag", "path", "place", "checksum")
]

nasty_texts = st.one_of(
    st.sampled_from(NASTY), st.sampled_from(REAL), st.text(max_size=30), st.text(max_size=3)
)
nasty_json = st.recursive(
    st.one_of(
        nasty_texts,
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(nasty_texts, inner, max_size=4)
    ),
    max_leaves=6,
)
broken_json = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"{",
            b"[]",
            b'"text"',
            b"null",
            b"NaN",
            b'{"message": NaN}',
            b'{"message": Infinity, "date": -Infinity}',
            b"[" * 50_000,
            b'{"a":' * 50_000,
            b"1" * 5000,
            b'{"date": ' + b"9" * 5000 + b"}",
            b'{"message": "\\ud800"}',
            b'{"metadata": {"\\udfff": "\\ud800"}}',
            b'{"message": "\xff\xfe"}',
            b'\xef\xbb\xbf{"message": "bom"}',
            b'{"message": 1, "message": "twice"}',
            '{"message": "x"}'.encode("utf-16"),
        ]
    ),
)
header_texts = st.one_of(
    st.sampled_from([text for text in NASTY if text.isprintable() and text.isascii()]),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
    ),
)


@st.composite
def mostly(draw: st.DrawFn, right: st.SearchStrategy[Any], wrong: st.SearchStrategy[Any]) -> Any:
    """Nine times in ten from the one, else from the other."""
    return draw(wrong if draw(st.integers(0, 9)) == 9 else right)


def _value_of(field: Any) -> st.SearchStrategy[Any]:
    """Values for a field of a model: of its type, and of any other."""
    kind = field.type_
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        right: st.SearchStrategy[Any] = body_of(kind)
    elif field.name in PLACES:
        right = st.just(PLACES[field.name])
    elif kind in (bool, StrictBool):
        right = st.booleans()
    elif kind in (int, StrictInt):
        right = st.integers(-2, 3)
    else:
        right = nasty_texts
    if field.shape == SHAPE_LIST:
        right = st.lists(right, max_size=3)
    elif field.shape != SHAPE_SINGLETON:
        right = st.dictionaries(nasty_texts, right, max_size=3)
    return mostly(right, nasty_json)


def body_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the fields of a model, some left out and some of another type."""
    fields = {field.alias: _value_of(field) for field in model.__fields__.values()}
    needed = {f.alias: fields.pop(f.alias) for f in model.__fields__.values() if f.required}
    whole = st.fixed_dictionaries(needed, optional=fields)
    return mostly(whole, st.fixed_dictionaries({}, optional=needed | fields))


@st.composite
def _form(draw: st.DrawFn) -> tuple[str, bytes]:
    """A form, more or less: its content type and its bytes."""
    boundary = draw(st.sampled_from(["b", "--", "x" * 70, "", "ü", "a;b", '"b"', "b\t"]))
    name = draw(st.sampled_from(["content", "other", "", 'con"tent']))
    content = draw(st.binary(max_size=40))
    mark = boundary.strip('"').encode("latin-1")
    head = f'content-disposition: form-data; name="{name}"; filename="f"'.encode("latin-1")
    body = b"--" + mark + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n--" + mark + b"--\r\n"
    cut = draw(st.integers(0, len(body)))
    kind = draw(st.sampled_from(["form-data", "mixed", "form-data; charset=x"]))
    sent = body if draw(st.booleans()) else body[:cut]
    return f"multipart/{kind}; boundary={boundary}", sent


@st.composite
def requests(draw: st.DrawFn) -> HostileRequest:
    """A request to any endpoint that the official client knows, mostly to those that we serve."""
    group = draw(st.sampled_from([*SERVED * 6, *OTHERS, "Signed", "Signed"]))
    operation = draw(st.sampled_from(SIGNED if group == "Signed" else operations(group)))

    def value(name: str) -> str:
        return draw(mostly(st.just(PLACES.get(name, "1")), nasty_texts))

    parts = {part: value(part) for part in operation.parts}
    asked = [name for name in operation.query if draw(st.integers(0, 9)) < 7]
    pairs = [(name, value(name)) for name in asked for _ in range(draw(st.integers(1, 2)))]
    target = _target(operation, parts, pairs, draw(st.sampled_from(["", "/", "/.%"])))
    headers = {name: draw(header_texts) for name in operation.headers if draw(st.booleans())}
    headers |= draw(
        st.dictionaries(
            st.sampled_from(
                ["Host", "X-Forwarded-Proto", "Range", "If-Match", "X-Lakefs-Meta-K", "Expect", "X"]
            ),
            header_texts,
            max_size=1,
        )
    )
    body = b""
    if operation.takes_bytes:
        headers["Content-Type"], body = draw(
            st.one_of(_form(), st.tuples(header_texts, st.binary(max_size=40)))
        )
    elif operation.body is not None:
        made: st.SearchStrategy[Any] = body_of(operation.body)
        if operation.path.endswith("branch_protection"):
            made = st.lists(made, max_size=3)
        texts = mostly(made, nasty_json).map(lambda found: json.dumps(found).encode())
        body = draw(mostly(texts, broken_json))
        headers["Content-Type"] = "application/json"
    prefix = draw(st.sampled_from(["/api/v1/"] * 40 + ["/", "/api/v1//", "/api/v2/", "//api/v1/"]))
    method = draw(st.sampled_from([operation.method] * 40 + ["PATCH", "OPTIONS", "HEAD", "LOCK"]))
    return HostileRequest(
        method,
        prefix + target,
        headers,
        body,
        draw(st.sampled_from(["good"] * 8 + ["bad", "none"])),
    )


def _target(
    operation: Operation, parts: Mapping[str, str], query: Iterable[tuple[str, str]], safe: str = ""
) -> str:
    """A path with its parts and its query. Braces stay, so that real names can be filled in."""
    path = "/".join(
        quote(parts[part.strip("{}")], safe="{}" + safe, errors="replace")
        if part.startswith("{")
        else part
        for part in operation.path.split("/")
    )
    pairs = [f"{name}={quote(text, safe='{}', errors='replace')}" for name, text in query]
    return path + ("?" + "&".join(pairs) if pairs else "")


def one_by_one() -> Iterator[HostileRequest]:
    """Every nasty text in every place of every endpoint that we serve, all else as it should be."""
    for operation in [*SIGNED, *(found for group in SERVED for found in operations(group))]:
        names = (*operation.parts, *operation.query)
        right = {name: PLACES.get(name, "1") for name in names}
        fields = operation.body.__fields__.values() if operation.body else ()
        body = {found.alias: PLACES.get(found.name, "x") for found in fields if found.required}

        def made(
            asked: Mapping[str, str],
            headers: dict[str, str],
            said: dict[str, str],
            of: Operation = operation,
        ) -> HostileRequest:
            query = [(name, asked[name]) for name in of.query]
            sent = b"bytes" if of.takes_bytes else json.dumps(said).encode() if of.body else b""
            return HostileRequest(
                of.method, "/api/v1/" + _target(of, asked, query), headers, sent, "good"
            )

        for text in NASTY:
            yield from (made({**right, name: text}, {}, body) for name in names)
            yield from (made(right, {}, {**body, found.alias: text}) for found in fields)
            if text.isprintable() and text.isascii():
                yield from (made(right, {name: text}, body) for name in operation.headers)
