"""A file on a server comes whole and once, whatever happens on the way, or is refused."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty_web_server import WebServer

from mlops_assets.sources import guarded_http
from mlops_assets.sources.download import Limits, download, version_at
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.guarded_http import Origin, Patience, check_origin, is_public

CONTENT = random.Random(1).randbytes(300_000)
NAME = "/month.zip"
QUICK = Limits(Patience(5.0, 5.0), tries=3, first_wait=0.01, longest_wait=0.02)


def fetched(server: WebServer, folder: Path, limits: Limits = QUICK) -> bytes:
    found = download(server.url + NAME, folder, limits)
    content = found.path.read_bytes()
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    return content


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_what_is_cut_off_again_and_again_is_continued_each_time(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.cut_after = [50_000] * 5
    assert fetched(server, tmp_path) == CONTENT
    assert [asked.first_byte for asked in server.bodies(NAME)] == [*range(0, 300_000, 50_000)]
    assert sum(asked.sent for asked in server.bodies(NAME)) == len(CONTENT)


def test_a_process_that_is_killed_half_way_is_continued_by_the_next(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.pause = 600.0
    script = (
        "import sys; from pathlib import Path;"
        "from mlops_assets.sources.download import Limits, download;"
        "download(sys.argv[1], Path(sys.argv[2]), Limits())"
    )
    process = subprocess.Popen([sys.executable, "-c", script, server.url + NAME, str(tmp_path)])
    end = time.monotonic() + 60
    while sum(path.stat().st_size for path in tmp_path.rglob("*.part")) < len(CONTENT) // 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    server.pause = 0.0
    assert fetched(server, tmp_path) == CONTENT
    assert server.bodies(NAME)[-1].first_byte > len(CONTENT) // 2
    assert left(tmp_path) == {"lock", "month.zip", "month.zip.json"}


def test_a_file_that_was_replaced_meanwhile_is_begun_anew(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.cut_after = [100_000]
    with pytest.raises(SourceUnavailableError, match="What has come is kept"):
        fetched(server, tmp_path, replace(QUICK, tries=1))
    server.files[NAME] = CONTENT[::-1]
    assert fetched(server, tmp_path) == CONTENT[::-1]
    assert [asked.first_byte for asked in server.bodies(NAME)] == [0, 0]


def test_a_rest_of_something_else_is_never_joined(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    server.etags[NAME] = 'W/"weak"'
    server.cut_after = [100_000]
    assert fetched(server, tmp_path) == CONTENT
    # A weak tag promises no equal bytes.
    assert [asked.first_byte for asked in server.bodies(NAME)] == [0, 0]


def test_a_rest_that_comes_in_parts_is_asked_for_until_it_is_whole(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.cut_after = [100_000]
    server.most_of_a_rest = 60_000
    assert fetched(server, tmp_path) == CONTENT
    places = [asked.first_byte for asked in server.bodies(NAME)]
    assert places == [0, 100_000, 160_000, 220_000, 280_000]


def test_a_server_that_gives_no_parts_gives_it_all_again(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    server.ranges = False
    server.cut_after = [100_000]
    assert fetched(server, tmp_path) == CONTENT


def test_an_unchanged_file_is_not_fetched_again_and_a_changed_one_is(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    assert fetched(server, tmp_path) == fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 1
    server.files[NAME] = CONTENT[1:]
    assert fetched(server, tmp_path) == CONTENT[1:]


def test_a_copy_that_was_damaged_here_is_fetched_again(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    path = download(server.url + NAME, tmp_path, QUICK).path
    path.write_bytes(CONTENT[::-1])
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 2


def test_a_file_whose_end_nobody_told_is_fetched_anew_for_the_next(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.sized = False
    server.cut_after = [100_000]
    assert fetched(server, tmp_path) == CONTENT[:100_000]
    assert fetched(server, tmp_path) == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    server.files[f"{NAME}.sha256"] = digest.encode()
    for _ in range(2):
        assert fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 3


def test_a_file_in_chunks_is_whole_with_the_last_of_them(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    server.chunked = True
    server.cut_after = [100_000]
    for _ in range(2):
        assert fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 2


def test_two_that_want_one_file_fetch_it_once(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    server.pause = 0.3
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: fetched(server, tmp_path), range(2)))
    assert found == [CONTENT, CONTENT]
    assert len(server.bodies(NAME)) == 1


def test_a_copy_is_fetched_anew_where_the_server_cannot_say_that_it_is_unchanged(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.tagged = False
    fetched(server, tmp_path)
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_down_for_a_while_is_asked_again(
    server: WebServer, tmp_path: Path, status: int
) -> None:
    server.files[NAME] = CONTENT
    server.statuses[NAME] = [status, status]
    assert fetched(server, tmp_path) == CONTENT


def test_a_server_that_stays_down_is_unavailable(server: WebServer, tmp_path: Path) -> None:
    server.statuses[NAME] = [503] * 9
    with pytest.raises(SourceUnavailableError, match=r"answers 503\. Tried 3 times"):
        fetched(server, tmp_path)
    assert len(server.asked) == 3


def test_a_server_that_asks_for_patience_is_obeyed_within_bounds(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.statuses[NAME] = [503, 503]
    server.retry_after = "0"
    assert fetched(server, tmp_path) == CONTENT
    server.files[NAME], server.statuses[NAME] = CONTENT[1:], [429]
    server.retry_after = "3600"
    with pytest.raises(SourceUnavailableError, match="asks to wait 3600 s"):
        fetched(server, tmp_path)


def test_nobody_listening_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"does not answer.*Connection refused"):
        download("http://127.0.0.1:9/month.zip", tmp_path, replace(QUICK, tries=1))


def test_a_body_that_stands_still_is_cut_off(server: WebServer, tmp_path: Path) -> None:
    server.files[NAME] = CONTENT
    server.pause = 1.0
    impatient = Limits(Patience(5.0, 0.1), tries=1)
    with pytest.raises(SourceUnavailableError, match="was cut off after 299,999 bytes"):
        fetched(server, tmp_path, impatient)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "There is no file"),
        (403, "is not given to us"),
        (418, "answers 418, which is no file"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    server: WebServer, tmp_path: Path, status: int, told: str
) -> None:
    server.statuses[NAME] = [status]
    with pytest.raises(SourceError, match=told) as refused:
        fetched(server, tmp_path)
    assert not isinstance(refused.value, SourceUnavailableError)
    assert len(server.asked) == 1


def test_a_file_with_another_checksum_than_its_server_says_is_refused(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.files[f"{NAME}.sha256"] = f"{'0' * 64}  month.zip\n".encode()
    with pytest.raises(SourceError, match="its server says 000000000000"):
        fetched(server, tmp_path)
    assert left(tmp_path) == {"lock"}
    digest = hashlib.sha256(CONTENT).hexdigest()
    server.files[f"{NAME}.sha256"] = f"{digest}  month.zip\n".encode()
    assert fetched(server, tmp_path) == CONTENT


@pytest.mark.parametrize("place", ["https://10.0.0.1/none", f"{NAME}.sha256"])
def test_a_checksum_that_leads_where_nobody_is_asked_is_none(
    server: WebServer, tmp_path: Path, place: str
) -> None:
    server.files[NAME] = CONTENT
    server.redirects[f"{NAME}.sha256"] = place
    assert fetched(server, tmp_path) == CONTENT


def test_a_checksum_that_is_cut_off_is_asked_for_again_and_not_the_file(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.files[f"{NAME}.sha256"] = hashlib.sha256(CONTENT).hexdigest().encode()
    server.cut_after = [len(CONTENT), *[20] * 3]
    with pytest.raises(SourceUnavailableError, match=r"sha256 was cut off\. Tried 3 times"):
        fetched(server, tmp_path)
    assert fetched(server, tmp_path) == CONTENT
    assert len(server.bodies(NAME)) == 1


def test_a_server_that_gives_the_same_beginning_again_and_again_is_down(
    server: WebServer, tmp_path: Path
) -> None:
    server.files[NAME] = CONTENT
    server.ranges = False
    server.cut_after = [50_000, 90_000, *[30_000, 80_000] * 50]
    with pytest.raises(SourceUnavailableError, match="Tried 3 times"):
        fetched(server, tmp_path)
    assert len(server.bodies(NAME)) == 4


@pytest.mark.parametrize("sized", [True, False])
def test_more_than_the_limit_is_not_fetched(
    server: WebServer, tmp_path: Path, *, sized: bool
) -> None:
    server.files[NAME] = CONTENT
    server.sized = sized
    with pytest.raises(SourceError, match="more than the 100,000 bytes"):
        fetched(server, tmp_path, replace(QUICK, max_bytes=100_000))
    assert left(tmp_path) == {"lock"}


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.2/month.zip",
        "https://10.0.0.1/month.zip",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/month.zip",
        "http://[::ffff:127.0.0.1]/month.zip",
        "http://localhost:1/month.zip",
    ],
)
def test_a_redirect_to_a_private_address_is_not_followed(
    server: WebServer, tmp_path: Path, place: str
) -> None:
    server.redirects[NAME] = place
    with pytest.raises(SourceError, match=r"a private network\. It was not asked"):
        fetched(server, tmp_path)


def test_a_name_that_resolves_to_a_private_address_is_one(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **named: Any) -> Any:
        return known("127.0.0.1" if host == "files.example.org" else host, *arguments, **named)

    monkeypatch.setattr(guarded_http.socket, "getaddrinfo", resolve)
    server.redirects[NAME] = "https://files.example.org/month.zip"
    with pytest.raises(SourceError, match=r"files\.example\.org, which is 127\.0\.0\.1"):
        fetched(server, tmp_path)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, answers = socket.getaddrinfo, ["127.0.0.1", "127.0.0.99"]

    def resolve(host: str, *arguments: Any, **named: Any) -> Any:
        if host == "files.example.org":
            host = answers.pop(0)
        return known(host, *arguments, **named)

    monkeypatch.setattr(guarded_http.socket, "getaddrinfo", resolve)
    server.files[NAME] = CONTENT
    port = server.url.rpartition(":")[2]
    assert version_at(f"http://files.example.org:{port}{NAME}", QUICK.patience)
    assert answers == ["127.0.0.99"]


def test_a_redirect_of_the_server_to_itself_is_followed(server: WebServer, tmp_path: Path) -> None:
    server.files["/elsewhere.zip"] = CONTENT
    server.redirects[NAME] = "/elsewhere.zip"
    assert fetched(server, tmp_path) == CONTENT


def test_the_signature_in_a_redirect_is_not_shown(server: WebServer, tmp_path: Path) -> None:
    server.redirects[NAME] = "/elsewhere.zip?signature=secret"
    server.redirects["/elsewhere.zip?signature=secret"] = ""
    with pytest.raises(SourceError, match=r"elsewhere\.zip redirects to nowhere") as refused:
        fetched(server, tmp_path)
    assert "secret" not in str(refused.value)


def test_a_circle_of_redirects_ends(server: WebServer, tmp_path: Path) -> None:
    server.redirects[NAME] = NAME
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        fetched(server, tmp_path)


CONFIGURED = Origin("https", "data.example.org", 443)


@pytest.mark.parametrize(
    ("origin", "address", "told"),
    [
        (CONFIGURED, "10.1.2.3", None),
        (Origin("https", "mirror.example.org", 443), "93.184.216.34", None),
        (Origin("http", "mirror.example.org", 80), "93.184.216.34", "is not encrypted"),
        (Origin("http", "data.example.org", 80), "93.184.216.34", "is not encrypted"),
        (Origin("https", "data.example.org", 8443), "10.1.2.3", "a private network"),
        (Origin("https", "mirror.example.org", 443), "100.64.0.1", "a private network"),
    ],
)
def test_who_may_be_asked(origin: Origin, address: str, told: str | None) -> None:
    if told is None:
        check_origin(origin, [address], CONFIGURED)
        return
    with pytest.raises(SourceError, match=told):
        check_origin(origin, [address], CONFIGURED)


def test_only_this_machine_is_spoken_to_without_encryption() -> None:
    plain = Origin("http", "data.example.org", 80)
    check_origin(plain, ["127.0.0.1"], plain)
    with pytest.raises(SourceError, match="Use https://"):
        check_origin(plain, ["93.184.216.34"], plain)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:10.0.0.1",
        "::",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "2002:a00:1::1",
        "fec0::1",
    ],
)
def test_addresses_of_ones_own_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.216.34"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/x",
        "https:///x",
        "https://a:secret@example.org/x",
        "http://a:secret@x:y/z",
        "https://a..b/x",
    ],
)
def test_what_is_no_address_of_a_file_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no address") as refused:
        download(address, tmp_path, QUICK)
    assert "secret" not in str(refused.value)
