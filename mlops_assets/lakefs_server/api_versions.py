"""Endpoints of branches and commits: create, commit, merge, revert, log, diff.

Belongs here: reading these requests and writing their answers as the lakeFS API words them. Does
not: the rules (`versions`, `store`).
"""

from __future__ import annotations

from datetime import date, datetime, time
from itertools import islice
from typing import Any

from mlops_assets.lakefs_server import refs
from mlops_assets.lakefs_server.asgi import Request, Response, Route, Routes, json_response
from mlops_assets.lakefs_server.catalog import Catalog
from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.fields import Fields
from mlops_assets.lakefs_server.history import Commit, Message
from mlops_assets.lakefs_server.objects import Listed, Objects
from mlops_assets.lakefs_server.paging import page_of, paged
from mlops_assets.lakefs_server.store import Branch, Store
from mlops_assets.lakefs_server.tree import Difference
from mlops_assets.lakefs_server.versions import Change, LogQuery, MergeOptions, Versions

_SECOND_NS = 1_000_000_000
_LATEST_DATE = ((1 << 63) - 1) // _SECOND_NS  # in 2262, the last second that SQLite holds in ns


class VersionApi:
    """Handlers over one store; the key that a request came with signs its commit."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def routes(self) -> Routes:
        """This part of the route table."""
        repository, branch = "repositories/*", "repositories/*/branches/*"
        return {
            ("GET", f"{repository}/branches"): Route(self.list_branches),
            ("POST", f"{repository}/branches"): Route(self.create_branch),
            ("GET", branch): Route(self.get_branch),
            ("DELETE", branch): Route(self.delete_branch),
            ("PUT", branch): Route(self.reset_branch, slow=True),
            ("PUT", f"{branch}/hard_reset"): Route(self.hard_reset, slow=True),
            ("GET", f"{branch}/diff"): Route(self.diff_branch, slow=True),
            ("POST", f"{branch}/commits"): Route(self.commit, slow=True),
            ("POST", f"{branch}/revert"): Route(self.revert, slow=True),
            ("POST", f"{branch}/cherry-pick"): Route(self.cherry_pick, slow=True),
            ("GET", f"{repository}/commits/*"): Route(self.get_commit),
            ("GET", f"{repository}/refs/*/commits"): Route(self.log, slow=True),
            ("GET", f"{repository}/refs/*/diff/*"): Route(self.diff_refs, slow=True),
            ("POST", f"{repository}/refs/*/merge/*"): Route(self.merge, slow=True),
            ("GET", f"{repository}/refs/*/merge/*"): Route(self.find_merge_base, slow=True),
        }

    def list_branches(self, request: Request, name: str) -> Response:
        """Branches by name."""
        page = page_of(request)
        repository = self._store.repository(name)
        found = self._catalog.branches(repository, page, hidden=request.flag("show_hidden"))
        return paged(page, found, _branch_body, lambda branch: branch.name)

    def create_branch(self, request: Request, name: str) -> Response:
        """A new branch; answers with its commit's id as plain text."""
        body = request.json()
        head = self._catalog.create_branch(
            self._store.repository(name),
            body.required("name"),
            body.required("source"),
            hidden=body.flag("hidden"),
            force=body.flag("force"),
        )
        return Response(201, head.encode(), [(b"content-type", b"text/plain; charset=utf-8")])

    def get_branch(self, _request: Request, name: str, branch: str) -> Response:
        """One branch."""
        return json_response(_branch_body(self._store.branch(self._store.repository(name), branch)))

    def delete_branch(self, request: Request, name: str, branch: str) -> Response:
        """Forget a branch."""
        repository = self._store.repository(name)
        self._catalog.delete_branch(repository, branch, force=request.flag("force"))
        return Response(204)

    def reset_branch(self, request: Request, name: str, branch: str) -> Response:
        """Forget staged changes."""
        body = request.json()
        kind, path = body.required("type"), body.text("path")
        if kind not in ("object", "common_prefix", "reset"):
            raise InvalidError("unknown reset type")
        if kind == "object":
            refs.check_path(path)
        objects = Objects(self._store, self._store.repository(name))
        found = objects.writable_branch(branch, force=body.flag("force"))
        if kind == "object":
            objects.reset_path(found, path)
        else:
            objects.reset_prefix(found, path if kind == "common_prefix" else "")
        return Response(204)

    def hard_reset(self, request: Request, name: str, branch: str) -> Response:
        """Point a branch at another commit."""
        force = request.flag("force")
        self._versions(name).hard_reset(branch, request.text("ref"), force=force)
        return Response(204)

    def diff_branch(self, request: Request, name: str, branch: str) -> Response:
        """What is staged on a branch."""
        page = page_of(request)
        objects = Objects(self._store, self._store.repository(name))
        found = objects.uncommitted(branch, page, request.text("delimiter"))
        return paged(page, found, _staged_body, lambda line: line.path)

    def commit(self, request: Request, name: str, branch: str) -> Response:
        """Commit what is staged."""
        body = request.json()
        body.check_present("message")
        if request.text("source_metarange"):
            raise InvalidError("source_metarange: no commits of one are made here: leave it out")
        made = self._versions(name).commit(
            branch,
            _message(request, body),
            allow_empty=body.flag("allow_empty"),
            force=body.flag("force"),
        )
        return json_response(made.body(), 201)

    def revert(self, request: Request, name: str, branch: str) -> Response:
        """Undo a commit."""
        body = request.json()
        body.check_present("parent_number")
        self._versions(name).revert(
            branch,
            _change_of(body),
            _message(request, body.inner("commit_overrides")),
            allow_empty=body.flag("allow_empty"),
            force=body.flag("force"),
        )
        return Response(204)

    def cherry_pick(self, request: Request, name: str, branch: str) -> Response:
        """Make a commit's changes again."""
        body = request.json()
        made = self._versions(name).cherry_pick(
            branch,
            _change_of(body),
            _message(request, body.inner("commit_overrides")),
            force=body.flag("force"),
        )
        return json_response(made.body(), 201)

    def get_commit(self, _request: Request, name: str, ref: str) -> Response:
        """One commit."""
        repository = self._store.repository(name)
        commit_id = self._store.commit_id(repository, ref)
        return json_response(self._store.commit(repository, commit_id).body())

    def log(self, request: Request, name: str, ref: str) -> Response:
        """Commits from a reference, newest first."""
        page = page_of(request)
        query = LogQuery(
            after=page.after,
            first_parent=request.flag("first_parent"),
            since_ns=_since_ns(request.text("since")),
            stop_at=request.text("stop_at"),
            paths=tuple(request.texts("objects")),
            prefixes=tuple(request.texts("prefixes")),
        )
        shown = page.amount if request.flag("limit") else page.amount + 1
        found = list(islice(self._versions(name).log(ref, query), shown))
        return paged(page, found, Commit.body, lambda commit: commit.id)

    def diff_refs(self, request: Request, name: str, left: str, right: str) -> Response:
        """How two references differ."""
        page = page_of(request)
        versions = self._versions(name)
        diff = versions.diff if request.text("type") == "two_dot" else versions.merge_preview
        found = diff(left, right, page, request.text("delimiter"))
        return paged(page, found, _difference_body, lambda line: line.path)

    def merge(self, request: Request, name: str, source: str, branch: str) -> Response:
        """Merge a reference into a branch."""
        body = request.json()
        options = MergeOptions(
            strategy=body.text("strategy"),
            force=body.flag("force"),
            allow_empty=body.flag("allow_empty"),
            squash=body.flag("squash_merge"),
        )
        made = self._versions(name).merge(source, branch, _message(request, body), options)
        return json_response({"reference": made.id})

    def find_merge_base(self, _request: Request, name: str, source: str, branch: str) -> Response:
        """The commits that a merge would start from.

        lakeFS names the destination's commit as the source's and the other way round, against its
        own description, and has done so since this endpoint exists.
        """
        theirs, ours, base = self._versions(name).merge_base(branch, source)
        return json_response(
            {
                "source_commit_id": theirs.id,
                "destination_commit_id": ours.id,
                "base_commit_id": base.id,
            }
        )

    def _versions(self, name: str) -> Versions:
        return Versions(self._store, self._store.repository(name))


def _message(request: Request, body: Fields) -> Message:
    date = body.number("date", most=_LATEST_DATE)
    dated_ns = date * _SECOND_NS if body.holds("date") else None
    metadata = body.strings("metadata") if body.holds("metadata") else None
    return Message(body.text("message"), request.user, metadata, dated_ns)


def _change_of(body: Fields) -> Change:
    number = body.number("parent_number") if body.holds("parent_number") else None
    return Change(body.required("ref"), number)


def _since_ns(text: str) -> int | None:
    if not text:
        return None
    try:
        day, clock = text.split("T")
        moment = datetime.combine(date.fromisoformat(day), time.fromisoformat(clock))
        return int(moment.timestamp() * _SECOND_NS)
    except (ValueError, OverflowError):
        raise InvalidError(f"since: invalid value: '{text}' is no date and time") from None


def _branch_body(branch: Branch) -> dict[str, Any]:
    return {"id": branch.name, "commit_id": branch.head}


def _difference_body(line: Listed[Difference]) -> dict[str, Any]:
    if line.found is None:
        return {"type": "prefix_changed", "path": line.path, "path_type": "common_prefix"}
    _, left, right, conflict = line.found
    kind = "changed" if left and right else "added" if right else "removed"
    shown = right or left
    return {
        "type": "conflict" if conflict else kind,
        "path": line.path,
        "path_type": "object",
        "size_bytes": shown.size if shown else 0,
    }


def _staged_body(line: Listed[Difference]) -> dict[str, Any]:
    """The same of what is staged, where lakeFS knows no size of what is removed."""
    removed = line.found is not None and line.found.right is None
    return _difference_body(line) | ({"size_bytes": 0} if removed else {})
