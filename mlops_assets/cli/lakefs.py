"""`mlops-assets lakefs`: the store of the lake for tools outside, and the keys that let them in.

The store is the state directory's, whichever server the lake's own endpoint names: a shell that is
set up as a client of this very server serves it and manages its keys all the same.
"""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime

import click

from mlops_assets.cli.faults import CommandError
from mlops_assets.cli.interrupts import stopped_by_signals
from mlops_assets.cli.loopback import is_loopback
from mlops_assets.lakefs_server import ExposedServer, NoAccessKeyError
from mlops_assets.lakefs_server.credentials import AccessKey, KnownKey, access_keys
from mlops_assets.lakefs_server.errors import NotFoundError
from mlops_assets.settings import open_state, settings


def serve(host: str, port: int, *, pre_sign: bool | None) -> None:
    """Serve the store until somebody stops it.

    Args:
        host: The address to listen on.
        port: The port.
        pre_sign: Whether to give signed links instead of local paths; the setting's word if None.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        CommandError: There is no access key, the address is not to be had, or the server ended.
    """
    found = settings()
    open_state(found.home)
    signs = found.lakefs_pre_sign if pre_sign is None else pre_sign
    with stopped_by_signals():
        try:
            with ExposedServer(found.lakefs_home, host=host, port=port, pre_sign=signs) as server:
                _say_where(server.url, host, signs=signs)
                server.serve()
        except KeyboardInterrupt:
            click.echo("\nstopped.")
            return
        except NoAccessKeyError as error:
            raise CommandError(
                f"{error}, and without one nobody is let in: make one with `mlops-assets lakefs "
                "key create`."
            ) from error
        except OSError as error:
            if error.filename is not None:
                raise
            raise _unusable(host, port, error) from error
    raise CommandError("the lake's server ended by itself; its words are above.")


def _say_where(url: str, host: str, *, signs: bool) -> None:
    links = "signed links" if signs else "local paths"
    click.echo(f"lakeFS API on {url}, with {links} (Ctrl-C ends it)")
    if not is_loopback(host):
        click.echo(
            "keys and data travel unencrypted: put a proxy that speaks TLS before it.", err=True
        )


def _unusable(host: str, port: int, error: OSError) -> CommandError:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return CommandError(
            f"{host} is no address of this machine ({error.strerror}): correct --host."
        )
    return CommandError(
        f"port {port} of {host} is taken ({error.strerror}): end what listens there, or choose "
        "another with --port."
    )


def create_key() -> AccessKey:
    """Make a key to the store; its secret is told here and never again.

    Raises:
        SettingsError: The settings or the state directory are not usable.
    """
    found = settings()
    open_state(found.home)
    with access_keys(found.lakefs_home) as keys:
        return keys.create()


def list_keys() -> list[KnownKey]:
    """The keys that the store takes, oldest first.

    Raises:
        SettingsError: The settings or the state directory are not usable.
    """
    found = settings()
    open_state(found.home)
    with access_keys(found.lakefs_home) as keys:
        return keys.known()


def delete_key(access_key_id: str) -> None:
    """Let a key in no more, from the next request on.

    Raises:
        SettingsError: The settings or the state directory are not usable.
        CommandError: There is no such key.
    """
    found = settings()
    open_state(found.home)
    with access_keys(found.lakefs_home) as keys:
        try:
            keys.delete(access_key_id)
        except NotFoundError as error:
            raise CommandError(
                f"{error.message}: `mlops-assets lakefs key list` shows those that there are."
            ) from error


def key_to_text(key: AccessKey) -> str:
    """A new key as the variables that clients read, and this command too."""
    return (
        f"LAKECTL_CREDENTIALS_ACCESS_KEY_ID={key.access_key_id}\n"
        f"LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY={key.secret_access_key}"
    )


def key_to_json(key: KnownKey) -> dict[str, str]:
    """A known key as a document."""
    return {"access_key_id": key.access_key_id, "created": _moment(key)}


def keys_to_text(keys: list[KnownKey]) -> str:
    """Known keys as lines, or a sentence that there is none."""
    lines = [f"{key.access_key_id}  made {_moment(key)}" for key in keys]
    return "\n".join(lines) or "no access key: nobody is let in from outside."


def _moment(key: KnownKey) -> str:
    return f"{datetime.fromtimestamp(key.created, UTC):%Y-%m-%dT%H:%M:%SZ}"
