"""Calls whose answer is lost: look whether the call took effect, and else make it once more.

A connection that breaks, or a gateway that answers for a server that is being restarted, leaves
it open whether the server did what it was asked. To fail then would leave a result on the base
branch that no record names, and to repeat blindly would meet the call's own effect. Reads need
none of this: the client repeats them by itself, see `PATIENCE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import lakefs
    import urllib3

T = TypeVar("T")

WAITS = (0.1, 0.4, 1.6)
"""Seconds before each further try of a call that changes something."""

PATIENCE = 8
"""How often a call is repeated that never reached the server, or that only reads: 14 s in all."""

CONNECT_SECONDS = 10
"""How long a connection may take to be made."""

ANSWER_SECONDS = {"GET": 60, "HEAD": 60}
"""How long an answer may let its caller wait, by method."""

LONGEST_SECONDS = 300
"""The same for what changes something: a merge of many objects takes its time."""

NOT_NOW = (HTTPStatus.LOCKED, HTTPStatus.TOO_MANY_REQUESTS)


def bound(client: lakefs.Client) -> None:
    """Have a client's calls end where a server accepts connections and says nothing.

    Without it a sensor's tick hung in it for ever, and alerts with it. The SDK hands its pool of
    connections a timeout of `None`, which to that means none at all, whatever the pool was made
    with; it has no setting for all calls.
    """
    import urllib3

    pools: urllib3.PoolManager = client.sdk_client.config_api.api_client.rest_client.pool_manager
    unbound = pools.request

    def request(method: str, url: str, **given: Any) -> Any:  # noqa: ANN401 - handed on as it is
        answer = ANSWER_SECONDS.get(method, LONGEST_SECONDS)
        given["timeout"] = given.get("timeout") or urllib3.Timeout(
            connect=CONNECT_SECONDS, read=answer
        )
        return unbound(method, url, **given)

    pools.request = request  # type: ignore[method-assign, assignment]


def be_patient(client: lakefs.Client) -> None:
    """Have a client outlast a server that is being restarted.

    It repeats what did not reach the server, and what changes nothing. For work that has
    something to lose, as a transaction has; before one, a client says at once that nobody answers
    at a mistyped address.
    """
    import urllib3

    # The SDK takes this setting only from a configuration that the client makes by itself.
    pools: urllib3.PoolManager = client.sdk_client.config_api.api_client.rest_client.pool_manager
    if "retries" in pools.connection_pool_kw:
        return
    pools.connection_pool_kw["retries"] = urllib3.Retry(
        PATIENCE,
        backoff_factor=0.1,
        backoff_max=4,
        status_forcelist=(
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.SERVICE_UNAVAILABLE,
            HTTPStatus.GATEWAY_TIMEOUT,
        ),
        raise_on_status=False,
    )
    pools.clear()


def settle(call: Callable[[], T], effect: Callable[[], T | None] = lambda: None) -> T:
    """Make a call that changes something, and do not leave open whether it took effect.

    Args:
        call: Asks the server to change something.
        effect: Looks whether that has happened: returns what the call would have, else None.
            Without it the call is one that can be repeated, such as an upload.

    Returns:
        What the call returned, or what was found of its effect.

    Raises:
        Exception: What the client raises: the server's refusal, or that it does not answer.
    """
    lost = False
    for wait in (*WAITS, None):
        try:
            return call()
        except Exception as error:
            lost = lost or unanswered(error)
            # A repeated call can be refused because the first one took effect: a branch that
            # exists, a merge without changes.
            if not lost:
                raise
            if wait is not None:
                time.sleep(wait)
            found = effect()
            if found is not None:
                return found
            if wait is None or not unanswered(error):
                raise
    raise AssertionError("the last try returns or raises")


def unanswered(error: Exception) -> bool:
    """Whether a failure leaves it open if the server did what it was asked, or says: not now."""
    import urllib3
    from lakefs.exceptions import ServerException
    from lakefs_sdk.exceptions import ApiException

    if isinstance(error, ServerException | ApiException):
        status = error.status_code if isinstance(error, ServerException) else error.status
        return status in NOT_NOW or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, urllib3.exceptions.HTTPError)
