"""Where a data branch's instance keeps its record: a folder, or a schema of the same Postgres.

Dagster's stock storages lie below the instance's home, so a copy of `dagster.yaml` in another home
is another record. A Postgres is one wherever it is asked from: there the branch gets a schema of
its own, named in the connection's options, and its record never mixes with the base branch's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_assets.settings import SettingsError

DATABASE, URL = "postgres_db", "postgres_url"
LONGEST_NAME = 63
"""Postgres cuts longer names off, and two branches would share a schema."""


def configuration(base: bytes, branch: str) -> bytes:
    """The `dagster.yaml` of a branch's instance.

    Args:
        base: That of the base branch's instance.
        branch: The branch's name.

    Raises:
        SettingsError: It names a Postgres in a way that cannot be given a schema.
    """
    import yaml

    document = yaml.safe_load(base) or {}
    found = list(_postgres(document))
    if not found:
        return base
    for place in found:
        if URL in place:
            raise SettingsError(
                f"dagster.yaml names its Postgres by {URL}, to which no schema of the branch can "
                f"be added: write {DATABASE} with hostname, username, password and db_name."
            )
        given = place[DATABASE].get("params", {})
        options = f'{given.get("options", "")} -csearch_path="{schema(branch)}"'.lstrip()
        # Anew for each: YAML's anchors make one mapping of several places.
        place[DATABASE] = {**place[DATABASE], "params": {**given, "options": options}}
    return yaml.safe_dump(document, sort_keys=False).encode()


def make_schema(base: bytes, branch: str) -> None:
    """Make the branch's schema anew, where the base branch's instance lives in a Postgres.

    Raises:
        SettingsError: The Postgres does not answer or refuses.
    """
    _execute(base, branch, create=True)


def drop_schema(base: bytes, branch: str) -> None:
    """Take the branch's schema away with all that is recorded in it.

    Raises:
        SettingsError: The Postgres does not answer or refuses.
    """
    _execute(base, branch, create=False)


def schema(branch: str) -> str:
    """The name of a branch's schema.

    Raises:
        SettingsError: It would be longer than Postgres allows.
    """
    name = f"branch_{branch}"
    if len(name.encode()) > LONGEST_NAME:
        raise SettingsError(
            f"{branch} is too long a name for a branch whose record is a schema of Postgres: use "
            f"at most {LONGEST_NAME - len('branch_')} bytes."
        )
    return name


def _postgres(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The places of a configuration that name a Postgres: one storage for all, or one for each."""
    for value in document.values():
        if not isinstance(value, dict):
            continue
        if DATABASE in value or URL in value:
            yield value
        else:
            yield from _postgres(value)


def _execute(base: bytes, branch: str, *, create: bool) -> None:
    import yaml

    places = list(_postgres(yaml.safe_load(base) or {}))
    if not places:
        return
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.schema import CreateSchema, DropSchema

    name = schema(branch)
    for url in {_url(place[DATABASE]) for place in places if DATABASE in place}:
        try:
            with create_engine(url).begin() as connection:
                connection.execute(DropSchema(name, cascade=True, if_exists=True))
                if create:
                    connection.execute(CreateSchema(name))
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise SettingsError(
                f"the schema {name} in Dagster's Postgres cannot be "
                f"{'made' if create else 'dropped'} ({reason}): see that it answers, and that its "
                "user may create schemas."
            ) from error


def _url(database: Mapping[str, Any]) -> str:
    from dagster_postgres.utils import get_conn_string

    from mlops_assets.compute.postgres_connections import with_driver

    given = {name: _value(value) for name, value in database.items()}
    return with_driver(get_conn_string(**given))


def _value(value: Any) -> Any:  # noqa: ANN401 - as YAML has it
    """A setting of Dagster's, which may name a variable of the environment instead."""
    if isinstance(value, dict) and set(value) == {"env"}:
        if value["env"] not in os.environ:
            raise SettingsError(f"dagster.yaml reads {value['env']}, which is not set: set it.")
        return os.environ[value["env"]]
    return value
