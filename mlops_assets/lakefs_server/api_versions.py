"""Endpoints of branches and commits: create, commit, merge, revert, log, diff.

Belongs here: reading these requests and writing their answers as the lakeFS API words them. Does
not: the rules (`versions`, `store`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from mlops_assets.lakefs_server import objects, versions
from mlops_assets.lakefs_server.api_repositories import required
from mlops_assets.lakefs_server.asgi import Request, Response, Route, Routes, json_response
from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.history import Commit
from mlops_assets.lakefs_server.paging import page_of, paged
from mlops_assets.lakefs_server.store import Branch, Store
from mlops_assets.lakefs_server.tree import Difference


class VersionApi:
    """Handlers over one store; `committer` signs every commit."""

    def __init__(self, store: Store, committer: str) -> None:
        self._store = store
        self._committer = committer

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
        found = self._store.branches(repository, page, hidden=request.flag("show_hidden"))
        return paged(page, found, _branch_body, lambda branch: branch.name)

    def create_branch(self, request: Request, name: str) -> Response:
        """A new branch; answers with its commit's id as plain text."""
        body = request.json()
        head = self._store.create_branch(
            self._store.repository(name),
            required(body, "name"),
            required(body, "source"),
            hidden=bool(body.get("hidden")),
            force=bool(body.get("force")),
        )
        return Response(201, head.encode(), [(b"content-type", b"text/html; charset=utf-8")])

    def get_branch(self, _request: Request, name: str, branch: str) -> Response:
        """One branch."""
        return json_response(_branch_body(self._store.branch(self._store.repository(name), branch)))

    def delete_branch(self, request: Request, name: str, branch: str) -> Response:
        """Forget a branch."""
        repository = self._store.repository(name)
        self._store.delete_branch(repository, branch, force=request.flag("force"))
        return Response(204)

    def reset_branch(self, request: Request, name: str, branch: str) -> Response:
        """Forget staged changes."""
        body = request.json()
        repository = self._store.repository(name)
        found = objects.writable_branch(
            self._store, repository, branch, force=bool(body.get("force"))
        )
        path = body.get("path") or ""
        match body.get("type"):
            case "reset":
                objects.reset(self._store, found)
            case "common_prefix":
                objects.reset(self._store, found, prefix=path)
            case "object":
                objects.reset(self._store, found, path=path)
            case _:
                raise InvalidError("unknown reset type")
        return Response(204)

    def hard_reset(self, request: Request, name: str, branch: str) -> Response:
        """Point a branch at another commit."""
        repository = self._store.repository(name)
        force = request.flag("force")
        versions.hard_reset(self._store, repository, branch, request.text("ref"), force=force)
        return Response(204)

    def diff_branch(self, request: Request, name: str, branch: str) -> Response:
        """What is staged on a branch."""
        page = page_of(request)
        found = objects.uncommitted(self._store, self._store.repository(name), branch, page)
        return paged(page, found, _difference_body, lambda difference: difference.path)

    def commit(self, request: Request, name: str, branch: str) -> Response:
        """Commit what is staged."""
        body = request.json()
        made = versions.commit(
            self._store,
            self._store.repository(name),
            branch,
            self._message(body),
            allow_empty=bool(body.get("allow_empty")),
            force=bool(body.get("force")),
        )
        return json_response(made.body(), 201)

    def revert(self, request: Request, name: str, branch: str) -> Response:
        """Undo a commit."""
        body = request.json()
        versions.revert(
            self._store,
            self._store.repository(name),
            branch,
            required(body, "ref"),
            int(body.get("parent_number") or 0),
            self._message(body.get("commit_overrides") or {}),
            allow_empty=bool(body.get("allow_empty")),
            force=bool(body.get("force")),
        )
        return Response(204)

    def cherry_pick(self, request: Request, name: str, branch: str) -> Response:
        """Make a commit's changes again."""
        body = request.json()
        made = versions.cherry_pick(
            self._store,
            self._store.repository(name),
            branch,
            required(body, "ref"),
            body.get("parent_number"),
            self._message(body.get("commit_overrides") or {}),
            force=bool(body.get("force")),
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
        found: Iterator[Commit] = versions.log(
            self._store,
            self._store.repository(name),
            ref,
            after=page.after,
            first_parent=request.flag("first_parent"),
            since_ns=_since_ns(request.text("since")),
            stop_at=request.text("stop_at"),
            paths=request.texts("objects"),
            prefixes=request.texts("prefixes"),
        )
        shown = page.amount if request.flag("limit") else page.amount + 1
        return paged(page, list(islice(found, shown)), Commit.body, lambda commit: commit.id)

    def diff_refs(self, request: Request, name: str, left: str, right: str) -> Response:
        """How two references differ."""
        page = page_of(request)
        found = versions.diff(
            self._store,
            self._store.repository(name),
            left,
            right,
            page,
            request.text("type", "three_dot"),
        )
        return paged(page, found, _difference_body, lambda difference: difference.path)

    def merge(self, request: Request, name: str, source: str, branch: str) -> Response:
        """Merge a reference into a branch."""
        body = request.json()
        made = versions.merge(
            self._store,
            self._store.repository(name),
            source,
            branch,
            self._message(body),
            strategy=body.get("strategy") or "",
            force=bool(body.get("force")),
            allow_empty=bool(body.get("allow_empty")),
            squash=bool(body.get("squash_merge")),
        )
        return json_response({"reference": made.id})

    def find_merge_base(self, _request: Request, name: str, source: str, branch: str) -> Response:
        """The commits that a merge would start from."""
        repository = self._store.repository(name)
        ours, theirs, base = versions.merge_base(self._store, repository, source, branch)
        return json_response(
            {
                "source_commit_id": ours.id,
                "destination_commit_id": theirs.id,
                "base_commit_id": base.id,
            }
        )

    def _message(self, body: dict[str, Any]) -> versions.Message:
        metadata = body.get("metadata") or {}
        strings = isinstance(metadata, dict) and all(
            isinstance(value, str) for value in metadata.values()
        )
        if not strings:
            raise InvalidError("metadata: invalid value: give an object of strings")
        date = body.get("date")
        if date is not None and not isinstance(date, int):
            raise InvalidError("date: invalid value: give whole seconds since the epoch")
        return versions.Message(body.get("message") or "", self._committer, metadata, date)


def _since_ns(text: str) -> int:
    if not text:
        return 0
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000_000)
    except ValueError:
        raise InvalidError(f"since: invalid value: '{text}' is no date and time") from None


def _branch_body(branch: Branch) -> dict[str, Any]:
    return {"id": branch.name, "commit_id": branch.head}


def _difference_body(found: Difference) -> dict[str, Any]:
    kind = "changed" if found.left and found.right else "added" if found.right else "removed"
    size = found.right.size if found.right else found.left.size if found.left else 0
    return {"type": kind, "path": found.path, "path_type": "object", "size_bytes": size}
