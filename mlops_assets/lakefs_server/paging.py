"""Lists in pages: how a client asks for one and how it is told that there is more.

Belongs here: the API's one convention for lists. Does not: what is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mlops_assets.lakefs_server.asgi import Request, Response, json_response
from mlops_assets.lakefs_server.parameters import MOST
from mlops_assets.lakefs_server.store import Page

_DEFAULT = 100
_T = TypeVar("_T")


def page_of(request: Request) -> Page:
    """The page a request asks for."""
    amount = int(request.text("amount", "0"))
    return Page(request.text("prefix"), request.text("after"), amount if amount > 0 else _DEFAULT)


def paged(
    page: Page, found: Sequence[_T], body: Callable[[_T], dict[str, Any]], name: Callable[[_T], str]
) -> Response:
    """A list answer from one more result than the page takes, which tells that there is more."""
    shown = found[: page.amount]
    more = len(found) > page.amount
    pagination = {
        "has_more": more,
        "next_offset": name(shown[-1]) if more else "",
        "results": len(shown),
        "max_per_page": MOST,
    }
    return json_response({"pagination": pagination, "results": [body(item) for item in shown]})
