"""What is put down in a landing area is read by day, and a file of one day spoils no other."""

from __future__ import annotations

import hashlib
import os
import zipfile
from datetime import date
from pathlib import Path

import fsspec
import pytest
from landed_files import content_of, land

from mlops_assets.defs.raw.contracts import CONTRACTS, FLIGHTS, PLANES, WEATHER
from mlops_assets.defs.raw.sources import SPAN, bundled_directory, configured, folder
from mlops_assets.settings import Settings
from mlops_assets.sources import storage
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.landing import LandingArea
from mlops_assets.sources.progress import Progress
from mlops_assets.sources.source import Rows
from mlops_assets.sources.storage import LocalStorage, RemoteStorage, Storage, StoredFile
from mlops_assets.sources.window import DayWindow

FIRST, SECOND, THIRD = (date(2013, 1, day) for day in (1, 2, 3))
HTML = "<!DOCTYPE html><html><body>Please sign in</body></html>\n"


def area(storage: Storage) -> LandingArea:
    return LandingArea(storage, CONTRACTS, SPAN, folder(bundled_directory()))


def local(place: Path) -> LandingArea:
    return area(LocalStorage(place, rest_seconds=0))


def read(place: Path, first: date = FIRST, last: date | None = None) -> Rows:
    return local(place).read(FLIGHTS, DayWindow(first, last or first))


def refusal(place: Path, day: date = FIRST) -> str:
    return read(place, day).refused[day]


def test_a_landed_day_is_what_the_packaged_year_has_of_it(tmp_path: Path) -> None:
    path = land(tmp_path, "flights", "2013-01-01")
    rows = read(tmp_path)
    packaged = folder(bundled_directory()).read(FLIGHTS, DayWindow(FIRST, FIRST))
    assert rows.table.equals(packaged.table)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert rows.origins == {"flights/2013-01-01.csv": digest}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HTML, "looks like an HTML page"),
        ('{"error": "not found"}\n', "looks like JSON"),
        ("PK\3\4\0\0\0", "is binary and no CSV"),
        ("", "is empty"),
        ("year,month\n1,2\n", "lacks the columns"),
        ("year,month\r1,2\r", "end with a carriage return alone"),
    ],
)
def test_a_broken_file_refuses_its_own_day_and_no_other(
    tmp_path: Path, content: str, told: str
) -> None:
    land(tmp_path, "flights", "2013-01-01")
    land(tmp_path, "flights", "2013-01-02", content)
    land(tmp_path, "flights", "2013-01-03")
    rows = read(tmp_path, FIRST, THIRD)
    assert set(rows.refused) == {SECOND}
    assert told in rows.refused[SECOND]
    assert str(tmp_path / "flights" / "2013-01-02.csv") in rows.refused[SECOND]
    assert set(rows.days.to_pylist()) == {FIRST, THIRD}


def test_a_file_that_is_still_being_copied_is_refused_as_cut_off(tmp_path: Path) -> None:
    land(tmp_path, "flights", "2013-01-01", content_of("flights", "2013-01-01")[:-30])
    assert "is cut off" in refusal(tmp_path)


def test_a_day_without_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    tmp_path.joinpath("flights").mkdir()
    assert f"no file {tmp_path / 'flights' / '2013-01-01.csv'}" in refusal(tmp_path)


def test_a_day_is_empty_only_if_somebody_says_so(tmp_path: Path) -> None:
    header = content_of("flights", "2013-01-01", rows=0)
    path = land(tmp_path, "flights", "2013-01-01", header)
    assert "a header and no rows" in refusal(tmp_path)
    Path(f"{path}.empty").write_text("no flight was scheduled\n")
    rows = read(tmp_path).complete()
    assert rows.table.num_rows == 0
    assert set(rows.origins) == {"flights/2013-01-01.csv", "flights/2013-01-01.csv.empty"}


def test_plain_and_packed_files_of_one_day_are_refused(tmp_path: Path) -> None:
    path = land(tmp_path, "flights", "2013-01-01")
    with zipfile.ZipFile(f"{path}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    assert "Remove the older one" in refusal(tmp_path)
    path.unlink()
    assert read(tmp_path).complete().table.num_rows == 842


def test_a_row_in_the_file_of_another_day_belongs_to_the_files_day(tmp_path: Path) -> None:
    misplaced = content_of("flights", "2013-01-02", rows=1).splitlines()[1]
    land(tmp_path, "flights", "2013-01-01", content_of("flights", "2013-01-01") + misplaced + "\n")
    land(tmp_path, "flights", "2013-01-02")
    rows = read(tmp_path, FIRST, SECOND)
    assert rows.days.to_pylist().count(FIRST) == 843


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(content_of("flights", "2013-01-01"))
    place = tmp_path / "landing"
    (place / "flights").mkdir(parents=True)
    (place / "flights" / "2013-01-01.csv").symlink_to(secret)
    assert "cannot be read" in refusal(place)
    news = local(place).arrivals("", limit=9)
    assert news.arrivals == []
    assert "is a link" in news.unusable["flights/2013-01-01.csv"]


def test_a_folder_that_may_not_be_looked_into_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tmp_path, "flights", "2013-01-01", rows=5)
    (tmp_path / "lost+found").mkdir()
    scan = os.scandir

    def refused(folder: Path) -> object:
        # Whoever runs this may be root, to whom no folder is closed.
        if folder.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refused)
    news = local(tmp_path).arrivals("", limit=9)
    assert [arrival.day for arrival in news.arrivals] == [FIRST]
    assert "may not be looked into" in news.unusable["lost+found"]
    assert read(tmp_path).table.num_rows == 5


def test_whole_tables_are_read_from_here_if_they_are_here(tmp_path: Path) -> None:
    elsewhere = local(tmp_path).read(PLANES, None)
    assert elsewhere.table.num_rows == 3322
    lines = (bundled_directory() / "planes.csv").read_text().splitlines()
    (tmp_path / "planes.csv").write_text("\n".join([*lines[:11], ""]))
    assert local(tmp_path).read(PLANES, None).table.num_rows == 10


def test_a_landing_area_that_is_gone_may_come_back(tmp_path: Path) -> None:
    gone = local(tmp_path / "unmounted")
    with pytest.raises(SourceUnavailableError, match="make or mount it"):
        gone.read(WEATHER, DayWindow(FIRST, FIRST))
    with pytest.raises(SourceUnavailableError, match="make or mount it"):
        gone.arrivals("", limit=1)


@pytest.mark.parametrize("scheme", ["memory://", "file://"])
def test_any_store_of_fsspec_is_a_landing_area(tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}{tmp_path}/drop"
    system, root = fsspec.core.url_to_fs(address)
    system.makedirs(f"{root}/flights", exist_ok=True)
    system.pipe_file(f"{root}/flights/2013-01-01.csv", content_of("flights", "2013-01-01").encode())
    remote = area(RemoteStorage(address))

    first = remote.arrivals("", limit=9)
    assert [(arrival.table, arrival.day) for arrival in first.arrivals] == [("flights", FIRST)]
    assert remote.read(FLIGHTS, DayWindow(FIRST, FIRST)).complete().table.num_rows == 842
    assert remote.arrivals(first.cursor, limit=9).arrivals == []

    again = content_of("flights", "2013-01-01", rows=9)
    system.pipe_file(f"{root}/flights/2013-01-01.csv", again.encode())
    [replaced] = remote.arrivals(first.cursor, limit=9).arrivals
    assert replaced.fingerprint != first.arrivals[0].fingerprint
    absent = remote.read(FLIGHTS, DayWindow(SECOND, SECOND)).refused[SECOND]
    assert f"no file {address}/flights/2013-01-02.csv" in absent


def test_what_replaces_a_file_with_an_older_time_arrives(tmp_path: Path) -> None:
    land(tmp_path, "flights", "2013-01-01", rows=5)
    remote = area(RemoteStorage(f"file://{tmp_path}"))
    cursor = remote.arrivals("", limit=9).cursor
    older = tmp_path / "older.csv"
    older.write_text(content_of("flights", "2013-01-01", rows=6))
    os.utime(older, (0, 0))
    older.rename(tmp_path / "flights" / "2013-01-01.csv")
    assert [arrival.day for arrival in remote.arrivals(cursor, limit=9).arrivals] == [FIRST]


def test_the_time_of_a_look_is_that_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a store lists its files is late at the next look, and looked for."""
    monkeypatch.setattr(storage.time, "time_ns", lambda: 1000)

    def files(_: RemoteStorage) -> dict[str, StoredFile]:
        monkeypatch.setattr(storage.time, "time_ns", lambda: 2000)
        return {}

    monkeypatch.setattr(RemoteStorage, "files", files)
    changes = RemoteStorage("memory://drop").changes("", lambda name: name, limit=1)
    assert Progress.from_text(changes.cursor).looked == 1000


def test_an_address_with_a_password_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_LANDING", "sftp://me:secret@files.example.org/landing")
    with pytest.raises(SourceError, match="FSSPEC_SFTP_PASSWORD") as refused:
        configured(Settings())
    assert "secret" not in str(refused.value)


def test_a_store_that_needs_another_package_names_it() -> None:
    with pytest.raises(SourceError, match="Install s3fs"):
        area(RemoteStorage("s3://bucket/drop")).arrivals("", limit=1)
