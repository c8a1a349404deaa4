"""Forms come in pieces, cut anywhere, and of any size."""

from __future__ import annotations

import hashlib
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from clients import Raw
from hypothesis import given
from hypothesis import strategies as st
from lakefs.repository import Repository

from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.multipart import FormField

KIND = "multipart/form-data; boundary=mark"
# Who sends a form chooses a boundary that its contents do not have.
NEAR_MARKS = (
    st.lists(
        st.one_of(
            st.binary(max_size=8), st.sampled_from([b"\r\n", b"--", b"--mar", b"\r\n--mar", b"\r"])
        )
    )
    .map(b"".join)
    .filter(lambda content: b"\r\n--mark" not in content)
)


def form(*parts: tuple[str, bytes]) -> bytes:
    heads = (f'--mark\r\ncontent-disposition: form-data; name="{n}"\r\n\r\n' for n, _ in parts)
    bodies = (content + b"\r\n" for _, content in parts)
    whole = zip(heads, bodies, strict=True)
    return b"".join(head.encode() + body for head, body in whole) + b"--mark--\r\n"


def field(pieces: list[bytes]) -> bytes:
    form = FormField(KIND, "content")
    found = b"".join(map(form.take, pieces))
    form.finish()
    return found


@given(NEAR_MARKS, NEAR_MARKS, st.lists(st.integers(0, 400), max_size=6))
def test_a_field_is_found_however_the_form_is_cut(
    content: bytes, other: bytes, cuts: list[int]
) -> None:
    sent = form(("other", other), ("content", content), ("content", b"a second one"))
    places = [0, *sorted(cuts), len(sent)]
    pieces = [sent[a:b] for a, b in pairwise(places)]
    assert field(pieces) == content


@pytest.mark.parametrize("sent", [b"", b"--mark--\r\n", form(("other", b"x")), b"no form at all"])
def test_a_form_without_the_field_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidError, match="without the field 'content'"):
        field([sent])


def test_a_form_that_breaks_off_is_refused_and_leaves_nothing(
    repository: Repository, raw: Raw, state_dir: Path
) -> None:
    before = {file for file in state_dir.rglob("*") if file.is_file()}
    for size in (100, 3 << 20):
        cut = form(("content", os.urandom(size)))[:-30]
        path = f"repositories/{repository.id}/branches/main/objects?path=x"
        answer = raw("POST", path, cut, Content_Type=KIND)
        assert (answer.status, list(json.loads(answer.body))) == (400, ["message"])
    assert {file for file in state_dir.rglob("*") if file.is_file()} <= before


def test_a_head_that_never_ends_is_refused() -> None:
    with pytest.raises(InvalidError, match="head does not end"):
        field([b"--mark\r\n" + b"x" * 100_000])


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_a_form_of_any_size_becomes_the_object_that_it_holds(
    repository: Repository, raw: Raw, size: int
) -> None:
    content = os.urandom(size)
    path = f"repositories/{repository.id}/branches/main/objects?path=x"
    answer = raw("POST", path, form(("content", content)), Content_Type=KIND)
    assert answer.status == 201
    stored = json.loads(answer.body)
    assert stored["checksum"] == hashlib.md5(content).hexdigest()
    assert stored["content_type"] == "application/octet-stream"
    assert repository.branch("main").object("x").reader().read() == content
