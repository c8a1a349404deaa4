"""Endpoints of the installation, repositories, branch protection and tags.

Belongs here: reading these requests and writing their answers as the lakeFS API words them. Does
not: the rules (`store`, `refs`).
"""

from __future__ import annotations

from typing import Any

from mlops_assets.lakefs_server.asgi import Request, Response, Route, Routes, json_response
from mlops_assets.lakefs_server.catalog import Catalog
from mlops_assets.lakefs_server.errors import InvalidError
from mlops_assets.lakefs_server.fields import Fields
from mlops_assets.lakefs_server.paging import page_of, paged
from mlops_assets.lakefs_server.store import Repository, Store, protection_etag

API_VERSION = "1.86.0"
"""The version of lakeFS whose API is spoken; clients parse it as three integers."""


class RepositoryApi:
    """Handlers over one store."""

    def __init__(self, store: Store, catalog: Catalog, *, pre_sign: bool, description: str) -> None:
        self._description = description
        self._store = store
        self._catalog = catalog
        self._pre_sign = pre_sign

    def routes(self) -> Routes:
        """This part of the route table."""
        return {
            ("GET", "healthcheck"): Route(self.healthcheck, public=True),
            ("GET", "config"): Route(self.config),
            ("GET", "repositories"): Route(self.list_repositories),
            ("POST", "repositories"): Route(self.create_repository, slow=True),
            ("GET", "repositories/*"): Route(self.get_repository),
            ("DELETE", "repositories/*"): Route(self.delete_repository, slow=True),
            ("GET", "repositories/*/metadata"): Route(self.get_metadata),
            ("GET", "repositories/*/settings/branch_protection"): Route(self.get_protection),
            ("PUT", "repositories/*/settings/branch_protection"): Route(
                self.set_protection, slow=True
            ),
            ("POST", "repositories/*/branch_protection"): Route(self.add_rule, slow=True),
            ("DELETE", "repositories/*/branch_protection"): Route(self.remove_rule, slow=True),
            ("GET", "repositories/*/tags"): Route(self.list_tags),
            ("POST", "repositories/*/tags"): Route(self.create_tag, slow=True),
            ("GET", "repositories/*/tags/*"): Route(self.get_tag),
            ("DELETE", "repositories/*/tags/*"): Route(self.delete_tag, slow=True),
        }

    def healthcheck(self, _request: Request) -> Response:
        """The server answers."""
        return Response(204)

    def config(self, _request: Request) -> Response:
        """What kind of storage a client deals with."""
        kind = "s3" if self._pre_sign else "local"
        prefix = "s3://lake" if self._pre_sign else "local://"
        storage = {
            "blockstore_type": kind,
            "blockstore_id": "",
            "blockstore_description": self._description,
            "blockstore_namespace_example": f"{kind}://example-bucket/",
            "blockstore_namespace_ValidityRegex": f"^{kind}://",
            "default_namespace_prefix": prefix,
            "pre_sign_support": self._pre_sign,
            "pre_sign_support_ui": False,
            "pre_sign_multipart_upload": False,
            "import_support": False,
            "import_validity_regex": f"^{kind}://",
        }
        return json_response(
            {
                "version_config": {"version": API_VERSION, "latest_version": API_VERSION},
                "storage_config": storage,
                "storage_config_list": [],
                "capabilities_config": {},
                "ui_config": {},
            }
        )

    def list_repositories(self, request: Request) -> Response:
        """Repositories by name."""
        page = page_of(request)
        found = self._catalog.repositories(page)
        return paged(page, found, _repository_body, lambda repository: repository.name)

    def create_repository(self, request: Request) -> Response:
        """A new repository."""
        body = request.json()
        if body.text("storage_id"):
            raise InvalidError("storage id: invalid value: there is only one storage here")
        if request.text("bare"):
            raise InvalidError("bare: bare repositories are not made here: leave it out")
        repository = self._catalog.create_repository(
            body.required("name"),
            body.required("storage_namespace"),
            body.text("default_branch") or "main",
            read_only=body.flag("read_only"),
        )
        return json_response(_repository_body(repository), 201)

    def get_repository(self, _request: Request, name: str) -> Response:
        """One repository."""
        return json_response(_repository_body(self._store.repository(name)))

    def delete_repository(self, request: Request, name: str) -> Response:
        """Forget a repository."""
        self._catalog.delete_repository(name, force=request.flag("force"))
        return Response(204)

    def get_metadata(self, _request: Request, name: str) -> Response:
        """A repository's own metadata."""
        return json_response(self._store.repository(name).metadata)

    def get_protection(self, _request: Request, name: str) -> Response:
        """The branch protection rules."""
        repository = self._store.repository(name)
        response = json_response([{"pattern": pattern} for pattern in repository.protection])
        response.headers.append((b"etag", protection_etag(repository).encode()))
        return response

    def set_protection(self, request: Request, name: str) -> Response:
        """Replace the branch protection rules."""
        rules = request.json_value()
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise InvalidError("branch protection: give a list of rules with a pattern each")
        patterns = [Fields(rule).required("pattern") for rule in rules]
        expected = request.header("if-match").strip('"') or None
        self._catalog.protect(name, list(dict.fromkeys(patterns)), expected)
        return Response(204)

    def add_rule(self, request: Request, name: str) -> Response:
        """Add one branch protection rule, which needs no ETag of the others."""
        self._catalog.protect_one(name, request.json().required("pattern"), protected=True)
        return Response(204)

    def remove_rule(self, request: Request, name: str) -> Response:
        """Take one branch protection rule out."""
        self._catalog.protect_one(name, request.json().required("pattern"), protected=False)
        return Response(204)

    def list_tags(self, request: Request, name: str) -> Response:
        """Tags by name."""
        page = page_of(request)
        found = self._catalog.tags(self._store.repository(name), page)
        return paged(page, found, lambda tag: _ref_body(*tag), lambda tag: tag[0])

    def create_tag(self, request: Request, name: str) -> Response:
        """Name a commit."""
        body = request.json()
        tag = body.required("id")
        repository = self._store.repository(name)
        target = self._catalog.create_tag(
            repository, tag, body.required("ref"), force=body.flag("force")
        )
        return json_response(_ref_body(tag, target), 201)

    def get_tag(self, _request: Request, name: str, tag: str) -> Response:
        """One tag."""
        return json_response(_ref_body(tag, self._store.tag(self._store.repository(name), tag)))

    def delete_tag(self, request: Request, name: str, tag: str) -> Response:
        """Forget a tag."""
        self._catalog.delete_tag(self._store.repository(name), tag, force=request.flag("force"))
        return Response(204)


def _repository_body(repository: Repository) -> dict[str, Any]:
    return {
        "id": repository.name,
        "creation_date": repository.created,
        "default_branch": repository.default_branch,
        "storage_id": "",
        "storage_namespace": repository.storage_namespace,
        "read_only": repository.read_only,
    }


def _ref_body(name: str, commit_id: str) -> dict[str, Any]:
    return {"id": name, "commit_id": commit_id}
