"""One HTTP request to a server that is trusted with its name and with nothing else.

A redirect is an instruction of the server's: it may not lead this machine to an address of its own
network, where a request of ours would be believed. A name is resolved once and that very address
connected to, since a second answer could be another. Proxies of the environment are not used: they
would resolve names out of sight.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from mlops_assets.sources.errors import SourceError, SourceUnavailableError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

MAX_REDIRECTS = 5

PORTS = {"http": 80, "https": 443}

AGENT = "mlops-assets"

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that the internet routes."""

CARRIES_IPV4 = ipaddress.IPv6Network("2002::/16")
"""6to4: bits 16 to 48 are any IPv4 address, a private one too."""


@dataclass(frozen=True)
class Origin:
    """Who answers: a scheme, a host and a port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an address.

        Raises:
            SourceError: It is no address of a web server.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            # A name that no resolver takes, a redirect's too, is no fault of the network.
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise SourceError(f"{_shown(url)} is no address ({error}). Correct it.") from error
        if parts.username is not None:
            raise SourceError(
                f"{_shown(url)} is no address that is asked: it holds a name or a password, which "
                "logs would show. Use a server that is public."
            )
        if parts.scheme not in PORTS or not parts.hostname:
            raise SourceError(f"{_shown(url)} is no address of a file on a web server. Correct it.")
        return cls(parts.scheme, parts.hostname, port or PORTS[parts.scheme])


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_seconds: For a connection.
        idle_seconds: For the next bytes of an answer.
    """

    connect_seconds: float = 10.0
    idle_seconds: float = 60.0


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet, and to no network of ours."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            # Python calls global what carries an IPv4 address to a gateway that unpacks it, such as
            # 64:ff9b::10.0.0.1, and the site-local addresses of old.
            return found in UNICAST and found not in CARRIES_IPV4 and found.is_global
        return is_public(str(found.ipv4_mapped))
    return found.is_global and not found.is_multicast


def check_origin(origin: Origin, addresses: Sequence[str], configured: Origin) -> None:
    """Refuse to ask a server that the configured one may not send us to.

    Args:
        origin: Who is to be asked.
        addresses: What its name resolved to.
        configured: Whom the settings name, who may be anywhere.

    Raises:
        SourceError: It is in a private network, or speaks without encryption.
    """
    if origin == configured:
        local = all(ipaddress.ip_address(it.partition("%")[0]).is_loopback for it in addresses)
        if origin.scheme != "https" and not local:
            raise SourceError(
                f"http://{origin.host} is not encrypted: anybody on the way could change the "
                "data. Use https://."
            )
        return
    private = [address for address in addresses if not is_public(address)]
    if private:
        raise SourceError(
            f"{configured.host} redirects to {origin.host}, which is {private[0]}, an address of "
            "a private network. It was not asked; name that server in MLOPS_SOURCE if it is meant."
        )
    if origin.scheme != "https":
        raise SourceError(
            f"{configured.host} redirects to http://{origin.host}, which is not encrypted. It was "
            "not asked; name an https:// address in MLOPS_SOURCE."
        )


@contextmanager
def request(
    method: str, url: str, headers: Mapping[str, str], patience: Patience
) -> Iterator[BaseHTTPResponse]:
    """Ask for a file and follow redirects as far as they are safe.

    Args:
        method: GET or HEAD.
        url: The address, whose server is the configured one.
        headers: More headers of the request.
        patience: How long to wait.

    Yields:
        The answer, whose body is not read yet; not a redirect.

    Raises:
        SourceError: A redirect leads where it must not, or nowhere.
        SourceUnavailableError: Nobody answers.
    """
    from urllib3.exceptions import HTTPError

    configured = Origin.of(url)
    asked = url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            answer = _ask(method, asked, headers, patience, configured)
        except (HTTPError, OSError) as error:
            raise SourceUnavailableError(
                f"{_shown(asked)} does not answer ({_words(error)}): see that its server runs and "
                "is reached from here, and try again."
            ) from error
        try:
            if answer.status not in _REDIRECTS:
                yield answer
                return
            place = answer.headers.get("Location")
        finally:
            answer.close()
        if not place:
            raise SourceError(f"{_shown(asked)} redirects to nowhere. Correct MLOPS_SOURCE.")
        asked = urljoin(asked, place)
    raise SourceError(
        f"{url} redirects more than {MAX_REDIRECTS} times, in a circle it seems. Correct "
        "MLOPS_SOURCE."
    )


_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}


def _ask(
    method: str, url: str, headers: Mapping[str, str], patience: Patience, configured: Origin
) -> BaseHTTPResponse:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    origin = Origin.of(url)
    addresses = _resolved(origin)
    check_origin(origin, addresses, configured)
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    host = origin.host if ":" not in origin.host else f"[{origin.host}]"
    named = host if origin.port == PORTS[origin.scheme] else f"{host}:{origin.port}"
    for place, address in enumerate(addresses, start=1):
        pool = _pool(origin, address, patience)
        try:
            return pool.urlopen(
                method,
                path,
                headers={
                    "Host": named,
                    "User-Agent": AGENT,
                    "Accept-Encoding": "identity",
                    **headers,
                },
                redirect=False,
                retries=False,
                preload_content=False,
                assert_same_host=False,
            )
        except (NewConnectionError, ConnectTimeoutError):
            if place == len(addresses):
                raise
    raise AssertionError("the last address answers or raises")


def _resolved(origin: Origin) -> list[str]:
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def _pool(origin: Origin, address: str, patience: Patience) -> HTTPConnectionPool:
    import urllib3

    timeout = urllib3.Timeout(connect=patience.connect_seconds, read=patience.idle_seconds)
    if origin.scheme == "http":
        return urllib3.HTTPConnectionPool(address, origin.port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address,
        origin.port,
        timeout=timeout,
        cert_reqs="CERT_REQUIRED",
        server_hostname=origin.host,
        assert_hostname=origin.host,
    )


def _shown(url: str) -> str:
    """An address without the name, the password and the signature that it may hold."""
    url = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path}" if rest else url


def _words(error: BaseException) -> str:
    """What a library's error says, without the objects that it prints."""
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    inner = error.__cause__ or getattr(error, "reason", None)
    told = inner if isinstance(inner, BaseException) else error
    return f"{type(told).__name__}: {getattr(told, 'strerror', None) or told}"
