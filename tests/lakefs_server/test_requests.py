"""What a request must be before anything is done for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clients import Raw, exposed
from lakefs.repository import Repository


def refusal(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["message"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"message": ["x"]}, "message: invalid value: give a text"),
        (
            {"message": "x", "metadata": {"a": 1}},
            "metadata: invalid value: give an object of texts",
        ),
        ({"message": "x", "force": "false"}, "force: invalid value: give true or false"),
        ({"message": "x", "date": True}, "date: invalid value: give a whole number"),
        ({"message": "x", "date": 10**12}, "date: invalid value: give at most 9223372036"),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(
    repository: Repository, raw: Raw, body: object, told: str
) -> None:
    path = f"repositories/{repository.id}/branches/main/commits"
    assert refusal(raw("POST", path, json.dumps(body).encode())) == (400, told)


@pytest.mark.parametrize(
    "body",
    [b'{"message": "\\ud800"}', b'{"date": NaN}', b"[" * 100_000, b"\xff", b'{"date": 1e999}'],
)
def test_json_that_is_none_is_refused(repository: Repository, raw: Raw, body: bytes) -> None:
    path = f"repositories/{repository.id}/branches/main/commits"
    assert refusal(raw("POST", path, body))[0] == 400


def test_a_body_beyond_all_reason_is_refused(repository: Repository, raw: Raw) -> None:
    path = f"repositories/{repository.id}/branches/main/commits"
    assert refusal(raw("POST", path, b" " * (65 << 20)))[0] == 413


def test_bytes_that_could_not_be_staged_are_not_taken(
    repository: Repository, raw: Raw, state_dir: Path
) -> None:
    before = {file for file in state_dir.rglob("*") if file.is_file()}
    content = b"nobody wants these" * 200_000
    for place in ("absent/objects?path=x", "main/objects?path="):
        answer = raw("POST", f"repositories/{repository.id}/branches/{place}", content)
        assert answer.status in (400, 404)
    assert {file for file in state_dir.rglob("*") if file.is_file()} <= before


def test_an_object_is_replaced_only_if_it_is_the_one_that_the_client_knows(
    repository: Repository, raw: Raw
) -> None:
    path = f"repositories/{repository.id}/branches/main/objects?path=x"
    assert refusal(raw("POST", path, b"1", If_Match='"anything"')) == (412, "path has no object")
    etag = json.loads(raw("POST", path, b"1").body)["checksum"]
    assert raw("POST", path, b"2", If_Match=f'"{etag}"').status == 201
    assert raw("POST", path, b"3", If_Match=etag).status == 412
    assert raw("POST", path, b"3", If_None_Match="*").status == 412
    assert raw("POST", path, b"3", If_None_Match='"other"').status == 501
    assert raw("POST", path, b"3", If_None_Match="*", If_Match=etag).status == 501
    assert repository.branch("main").object("x").reader().read() == b"2"


def test_a_link_to_write_tells_a_missing_branch_before_it_takes_bytes(tmp_path: Path) -> None:
    with exposed(tmp_path, pre_sign=True) as endpoint:
        raw = Raw(endpoint)
        made = json.dumps({"name": "lake", "storage_namespace": "s3://lake"}).encode()
        assert raw("POST", "repositories", made).status == 201
        branches = "repositories/lake/branches"
        place = json.loads(raw("GET", f"{branches}/absent/staging/backing?path=x&presign=1").body)
        link = place["presigned_url"].removeprefix(endpoint.url)
        told = refusal(raw("PUT", link, b"bytes", anonymous=True))
        assert told == (404, "branch 'absent' not found")
        other = link.replace("branch=absent", "branch=main")
        assert raw("PUT", other, b"bytes", anonymous=True).status == 403
