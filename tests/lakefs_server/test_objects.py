"""Objects through the official client: staged, read, listed, in ranges and in place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from clients import Raw
from lakefs.exceptions import ObjectExistsException, ObjectNotFoundException
from lakefs.models import CommonPrefix
from lakefs.repository import Repository

from mlops_assets.lakefs_server import api_objects


def test_an_uploaded_object_reads_back_with_its_metadata(repository: Repository) -> None:
    main = repository.branch("main")
    main.object("a/b.txt").upload(b"hello", content_type="text/plain", metadata={"rows": "1"})
    stat = main.object("a/b.txt").stat()
    assert (stat.size_bytes, stat.content_type, stat.metadata) == (5, "text/plain", {"rows": "1"})
    assert stat.checksum == hashlib.md5(b"hello").hexdigest()
    assert main.object("a/b.txt").reader().read() == b"hello"


def test_the_physical_address_is_a_file_with_the_very_bytes(repository: Repository) -> None:
    stat = repository.branch("main").object("x").upload(b"in place").stat()
    assert stat.physical_address.startswith("local:///")
    assert Path(stat.physical_address.removeprefix("local://")).read_bytes() == b"in place"


def test_identical_content_is_stored_once(repository: Repository) -> None:
    main = repository.branch("main")
    stats = [main.object(path).upload(b"same bytes").stat() for path in ("one", "two")]
    assert stats[0].physical_address == stats[1].physical_address


def test_a_large_object_arrives_whole(repository: Repository) -> None:
    content = os.urandom(3 << 20)
    obj = repository.branch("main").object("large").upload(content)
    assert obj.reader().read() == content
    with obj.reader() as reader:
        reader.seek(2_000_000)
        assert reader.read(1_500_000) == content[2_000_000:]


def test_what_is_staged_is_seen_on_the_branch_alone(repository: Repository) -> None:
    main = repository.branch("main")
    main.object("x").upload(b"1")
    assert main.object("x").exists()
    assert not repository.ref("main@").object("x").exists()
    assert not repository.ref(main.get_commit().id).object("x").exists()


def test_exclusive_creation_refuses_an_object_that_exists(repository: Repository, raw: Raw) -> None:
    obj = repository.branch("main").object("x").upload(b"1")
    with pytest.raises(ObjectExistsException):
        obj.upload(b"2", mode="xb")
    path = f"repositories/{repository.id}/branches/main/objects?path=x"
    assert raw("POST", path, b"2", If_None_Match="*").status == 412


def test_a_listing_folds_and_pages_over_committed_and_staged_objects(
    repository: Repository,
) -> None:
    main = repository.branch("main")
    for path in ("a", "b/1", "b/2", "c/1"):
        main.object(path).upload(b"committed")
    main.commit("base")
    main.object("b/2").delete()
    main.object("b/3").upload(b"staged")
    main.object("d").upload(b"staged")
    assert [o.path for o in main.objects()] == ["a", "b/1", "b/3", "c/1", "d"]
    assert [o.path for o in main.objects(prefix="b/")] == ["b/1", "b/3"]
    folded = list(main.objects(delimiter="/"))
    assert [o.path for o in folded] == ["a", "b/", "c/", "d"]
    assert [isinstance(o, CommonPrefix) for o in folded] == [False, True, True, False]
    client = repository._client.sdk_client.objects_api
    paths, after = [], ""
    while True:
        page = client.list_objects(repository.id, "main", after=after, amount=1, delimiter="/")
        paths += [found.path for found in page.results]
        if not page.pagination.has_more:
            break
        after = page.pagination.next_offset
    assert paths == ["a", "b/", "c/", "d"]


def test_a_removed_object_is_gone_and_removing_it_again_is_no_error(
    repository: Repository,
) -> None:
    main = repository.branch("main")
    main.object("x").upload(b"1")
    main.commit("x")
    main.object("x").delete()
    main.object("x").delete()
    with pytest.raises(ObjectNotFoundException):
        main.object("x").stat()
    assert [(c.type, c.path) for c in main.uncommitted()] == [("removed", "x")]


def test_a_copy_has_the_content_and_metadata_of_its_source(repository: Repository) -> None:
    main = repository.branch("main")
    source = main.object("x").upload(b"1", metadata={"k": "v"})
    copy = source.copy("main", "y")
    assert copy.stat().metadata == {"k": "v"}
    assert copy.stat().physical_address == source.stat().physical_address


def test_reset_forgets_what_is_staged_where_asked(repository: Repository) -> None:
    main = repository.branch("main")
    for path in ("a", "b/1", "b/2", "c"):
        main.object(path).upload(b"1")
    main.reset_changes("object", "a")
    assert [c.path for c in main.uncommitted()] == ["b/1", "b/2", "c"]
    main.reset_changes("common_prefix", "b/")
    assert [c.path for c in main.uncommitted()] == ["c"]
    main.reset_changes()
    assert list(main.uncommitted()) == []


def test_a_form_carries_binary_content_unchanged(repository: Repository, raw: Raw) -> None:
    content = bytes(range(256)) + b"\r\n--not the boundary\n"
    head = b'--xyz\r\nContent-Disposition: form-data; name="content"; filename="f"\r\n'
    kind = b"Content-Type: application/x-thing\r\n\r\n"
    answer = raw(
        "POST",
        f"repositories/{repository.id}/branches/main/objects?path=form",
        head + kind + content + b"\r\n--xyz--\r\n",
        Content_Type="multipart/form-data; boundary=xyz",
    )
    assert answer.status == 201
    obj = repository.branch("main").object("form")
    assert obj.reader().read() == content
    assert obj.stat().content_type == "application/x-thing"


def test_an_unchanged_object_is_not_sent_again(repository: Repository, raw: Raw) -> None:
    repository.branch("main").object("x").upload(b"12345")
    path = f"repositories/{repository.id}/refs/main/objects?path=x"
    etag = raw("GET", path).headers["etag"]
    assert raw("GET", path, If_None_Match=etag).status == 304
    assert raw("HEAD", path).headers["content-length"] == "5"
    assert raw("GET", path, Range="bytes=9-").status == 416
    part = raw("GET", path, Range="bytes=1-2")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"23", "bytes 1-2/5")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", (0, 10)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=4-2", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=10-", None),
        ("bytes=0-1,3-4", None),
    ],
)
def test_a_range_header_asks_for_a_span(header: str, span: tuple[int, int] | None) -> None:
    assert api_objects.byte_range(header, 10) == span
