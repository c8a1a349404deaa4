"""Objects, links and repositories answer as lakeFS 1.84 does, where a client can tell.

Each expectation was read off a lakeFS server, with local blocks and with S3 and signed links.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from clients import PlainLake, Raw, exposed

from mlops_assets.lakefs_server import api_objects
from mlops_assets.lakefs_server.errors import InvalidError

# -- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=1-2", 206),
        ("bytes=2-1", 416),
        ("bytes=9-", 416),
        ("bytes=-0", 416),
        ("bytes=-", 416),
        ("bytes=0-1,3-4", 416),
        ("bytes=a-b", 400),
        ("bytes=", 400),
        ("items=0-1", 400),
        ("bytes=0 - 1", 400),
    ],
)
def test_a_bad_range_is_refused(lake: PlainLake, asked: str, status: int) -> None:
    lake.put("main", "a", b"12345")
    for method in ("GET", "HEAD"):
        assert lake(method, "/refs/main/objects?path=a", Range=asked)[0] == status


def test_a_hostile_range_is_judged_in_time() -> None:
    with pytest.raises(InvalidError):
        api_objects.check_range("bytes=" + "1-" * 30_000 + "x")


def test_an_object_is_described_by_its_headers(lake: PlainLake, raw: Raw) -> None:
    place = f"repositories/{lake.name}/refs/main/objects?path=a"
    kinds = {"text/html": "inline", "application/x-thing": "attachment"}
    for kind, disposition in kinds.items():
        lake("POST", "/branches/main/objects?path=a", b"1", Content_Type=kind)
        headers = raw("GET", place).headers
        assert headers["content-disposition"] == disposition
        assert headers["cache-control"] == "no-store, must-revalidate"
        assert headers["last-modified"].endswith("GMT")
        assert "accept-ranges" not in headers
        assert raw("HEAD", place).headers["accept-ranges"] == "bytes"


def test_deleting_many_answers_200_and_says_for_each_path_why_not(lake: PlainLake) -> None:
    lake.commit("main", a=b"1", b=b"1")
    delete = {"paths": ["a", "b"]}
    assert lake("POST", "/branches/absent/objects/delete", delete) == (200, {"errors": []})
    some = {"paths": ["a", ""]}  # Spark deletes "main/" so: nothing happens, which is no error
    assert lake("POST", "/branches/main/objects/delete", some) == (200, {"errors": []})
    assert lake.paths("/refs/main/objects/ls") == ["a", "b"]
    long = lake("POST", "/branches/main/objects/delete", {"paths": ["a", "x" * 1025]})[1]
    assert [error["status_code"] for error in long["errors"]] == [500, 500]
    assert lake("POST", "/branches/main/objects/delete", delete) == (200, {"errors": []})
    assert lake.paths("/refs/main/objects/ls") == []


def test_a_shallow_copy_is_not_made(lake: PlainLake) -> None:
    lake.put("main", "a", b"1")
    copy = {"src_path": "a", "shallow": True}
    assert lake("POST", "/branches/main/objects/copy?dest_path=b", copy)[0] == 501


def test_links_to_sign_are_refused_where_paths_are_handed_out(lake: PlainLake) -> None:
    lake.put("main", "a", b"1")
    ref = "/refs/main/objects"
    for place in (f"{ref}?path=a", f"{ref}/stat?path=a", f"{ref}/ls?x=1"):
        assert lake("GET", f"{place}&presign=true")[0] == 400
    assert lake("GET", "/branches/main/staging/backing?path=a")[1]["presigned_url"] is None


# -- links -----------------------------------------------------------------------------------------


def staged(lake: PlainLake, content: bytes) -> tuple[Path, dict[str, Any]]:
    """A place for `content` and what is said of it to link it."""
    place = lake("GET", "/branches/main/staging/backing?path=p")[1]
    said = {
        "staging": place,
        "checksum": hashlib.md5(content).hexdigest(),
        "size_bytes": len(content),
    }
    return Path(place["physical_address"].removeprefix("local://")), said


def test_what_is_done_to_a_place_after_its_link_changes_no_object(lake: PlainLake) -> None:
    file, said = staged(lake, b"first")
    file.write_bytes(b"first")
    backing = "/branches/main/staging/backing?path=p"
    status, linked = lake("PUT", backing, said)
    assert status == 200
    own = Path(linked["physical_address"].removeprefix("local://"))
    assert own.read_bytes() == b"first"
    file.write_bytes(b"other")
    assert lake("GET", "/refs/main/objects?path=p") == (200, b"first")
    file.unlink()
    assert lake("GET", "/refs/main/objects?path=p") == (200, b"first")


def test_a_link_whose_answer_was_lost_is_made_again(lake: PlainLake) -> None:
    file, said = staged(lake, b"first")
    file.write_bytes(b"first")
    backing = "/branches/main/staging/backing?path=p"
    assert [lake("PUT", backing, said)[0] for _ in range(2)] == [200, 200]
    assert lake("PUT", backing, said, If_None_Match="*")[0] == 412
    second, told = staged(lake, b"second")
    assert lake("PUT", backing, told)[0] == 400  # nothing was put down
    second.write_bytes(b"second")
    assert lake("PUT", backing, told)[0] == 200
    assert lake("GET", "/refs/main/objects?path=p") == (200, b"second")


# -- repositories ----------------------------------------------------------------------------------


def test_a_namespace_stays_in_use_after_its_repository_is_deleted(raw: Raw) -> None:
    def make(name: str, namespace: str, **more: object) -> tuple[int, str]:
        said = {"name": name, "storage_namespace": namespace, **more}
        answer = raw("POST", "repositories", json.dumps(said).encode())
        return answer.status, json.loads(answer.body).get("message", "")

    assert make("first-one", "local://kept")[0] == 201
    assert make("first-one", "local://kept") == (409, "error creating repository: not unique")
    assert make("second-one", "local://kept/")[0] == 400
    assert raw("DELETE", "repositories/first-one").status == 204
    status, reason = make("first-one", "local://kept")
    assert status == 400
    assert "storage namespace already in use" in reason
    assert make("first-one", "local://other")[0] == 201
    assert make("Capital", "local://third")[0] == 400
    assert make("reader", "local://other", read_only=True)[0] == 201  # it will never write there


def test_a_read_only_repository_takes_no_protection_rules(raw: Raw) -> None:
    said = {"name": "still", "storage_namespace": "local://still", "read_only": True}
    assert raw("POST", "repositories", json.dumps(said).encode()).status == 201
    rules = "repositories/still/settings/branch_protection"
    answer = raw("PUT", rules, b'[{"pattern": "main"}]')
    assert (answer.status, json.loads(answer.body)["message"]) == (403, "read-only repository")


def test_that_there_are_no_protection_rules_cannot_be_insisted_on(
    lake: PlainLake, raw: Raw
) -> None:
    rules = f"repositories/{lake.name}/settings/branch_protection"
    assert raw("GET", rules).headers["etag"] == ""
    assert raw("PUT", rules, b'[{"pattern": "main"}]', If_Match="").status == 400
    assert raw("PUT", rules, b'[{"pattern": "main"}]').status == 204
    assert raw("GET", rules).headers["etag"] != ""


@pytest.mark.parametrize(
    ("pre_sign", "kind", "prefix"), [(False, "local", "local://"), (True, "s3", "s3://lake")]
)
def test_the_configuration_names_a_prefix_of_namespaces(
    tmp_path: Path, pre_sign: bool, kind: str, prefix: str
) -> None:
    with exposed(tmp_path, pre_sign=pre_sign) as endpoint:
        found = json.loads(Raw(endpoint)("GET", "config").body)["storage_config"]
    assert (found["blockstore_type"], found["default_namespace_prefix"]) == (kind, prefix)
    assert found["blockstore_namespace_ValidityRegex"] == f"^{kind}://"
    assert found["pre_sign_multipart_upload"] is False
