"""An embedded, lakeFS-compatible server: versioned objects with no container and no account.

Belongs here: the lakeFS API over loopback HTTP, a store on a local disk, and nothing that knows
what the objects mean. Does not: anything of this repository's data, models or orchestrator; this
package imports nothing of the others but `files`, and they reach it only through the official
client.

The way of a request: `server` (thread, port) → `asgi` (route), `credentials` (who) → `api_*`
(wording of the API) → `objects`, `versions` (transactions) → `tree`, `merge`, `history`, `refs`
(decisions) and `store`, `database`, `blobs` (disk).
"""

from mlops_assets.lakefs_server.errors import NoAccessKeyError, StoreFormatError
from mlops_assets.lakefs_server.server import EmbeddedServer, Endpoint, ExposedServer

__all__ = ["EmbeddedServer", "Endpoint", "ExposedServer", "NoAccessKeyError", "StoreFormatError"]
