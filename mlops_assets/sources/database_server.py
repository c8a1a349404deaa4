"""The way to a database: its address, which shows no secret, and connections that only read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlops_assets.sources.errors import SourceError

if TYPE_CHECKING:
    import sqlalchemy as sa

STATEMENT_SECONDS = 600

CONNECT_SECONDS = 10

POSTGRES, SQLITE = "postgresql", "sqlite"

SECRET = re.compile(r"pass|pwd|token|secret|key", re.IGNORECASE)
"""What the name of a URL's parameter looks like that holds a secret."""

PATHS = {"passfile", "sslkey", "ssl_key"}
"""Parameters of such names that hold the path of a file."""

SECRET_WITHIN = re.compile(r"(pwd|password|token|secret)\s*=", re.IGNORECASE)
"""What a secret looks like in a parameter that holds a whole connection, as odbc_connect does."""


@dataclass(frozen=True)
class Server:
    """A database.

    Attributes:
        url: Its SQLAlchemy URL, without a password.
        password: The password.
    """

    url: str
    password: str | None = field(repr=False)

    @contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """A connection for reading, closed at the end.

        Raises:
            SourceError: The URL is none, or of no kind of database that is known here.
            sqlalchemy.exc.DBAPIError: The database does not answer, or lets nobody in.
        """
        engine = self._engine()
        options: dict[str, Any] = {}
        if engine.dialect.name == POSTGRES:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with engine.connect() as connection:
                yield connection.execution_options(**options)
        finally:
            engine.dispose()

    def _engine(self) -> sa.Engine:
        import sqlalchemy as sa

        url = self._url
        arguments: dict[str, Any] = {}
        if url.get_backend_name() == SQLITE:
            path = Path(url.database or "").absolute()
            if not path.is_file():
                raise SourceError(f"There is no database {path}. Correct MLOPS_SOURCE.")
            # To open it for writing would make it where it is missing.
            arguments["creator"] = lambda: sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True
            )
        elif url.get_backend_name() == POSTGRES:
            if url.drivername == POSTGRES:
                url = url.set(drivername=f"{POSTGRES}+psycopg2")
            arguments["connect_args"] = {
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "mlops-assets",
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s",
            }
        try:
            return sa.create_engine(
                url.set(password=self.password) if self.password else url,
                poolclass=sa.NullPool,
                **arguments,
            )
        except sa.exc.NoSuchModuleError as error:
            raise SourceError(
                f"{self.shown} is of no kind of database that is known. Correct MLOPS_SOURCE."
            ) from error
        except ModuleNotFoundError as error:
            raise SourceError(
                f"{self.shown} needs the package {error.name}. Install it."
            ) from error

    @property
    def _url(self) -> sa.URL:
        import sqlalchemy as sa

        try:
            url = sa.make_url(self.url)
        except (sa.exc.ArgumentError, ValueError):
            # What such an error repeats can be a part of a password.
            raise SourceError(
                "MLOPS_SOURCE is no URL of a database. Write it as <kind>://<user>@<host>/<name>."
            ) from None
        if (held := _credential(url)) is not None:
            raise SourceError(
                f"MLOPS_SOURCE holds {held}, which logs would show. Set MLOPS_SOURCE_PASSWORD "
                "instead, and write the rest as <kind>://<user>@<host>/<name>."
            )
        return url

    @property
    def shown(self) -> str:
        """Its address, for people: no password, and no parameter, which may hold one by any name.

        Raises:
            SourceError: It is no URL of a database, or holds a password or what looks like one.
        """
        return self._url.set(query={}).render_as_string(hide_password=True)


def _credential(url: sa.URL) -> str | None:
    """What of a URL belongs in no log: its password, or a parameter that looks like one."""
    if url.password is not None:
        return "a password"
    for name, values in url.normalized_query.items():
        named = SECRET.search(name) and name.lower() not in PATHS
        if named or any(SECRET_WITHIN.search(value) for value in values):
            return f"a credential in its parameter {name}"
    return None
