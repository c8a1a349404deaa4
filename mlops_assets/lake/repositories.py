"""Making the repository on whatever server, and protecting its branches."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_assets.lake.answers import WAITS, settle
from mlops_assets.lake.errors import LakeError

if TYPE_CHECKING:
    from lakefs_sdk.models.repository import Repository

    from mlops_assets.lake.connection import Lake

PREFIXES = {"local": "local://", "mem": "mem://"}
"""Where storages that need no bucket keep repositories, where the server's settings do not say."""

RULE_TRIES = 8
"""How often a change of the protection rules is tried while others change them too."""

IN_USE = "already in use"


def found(lake: Lake) -> Repository | None:
    """The repository; None if the server has none of that name."""
    from lakefs_sdk.exceptions import NotFoundException

    api = lake.client.sdk_client.repositories_api
    try:
        answer: Repository = api.get_repository(lake.repository)
    except NotFoundException:
        # What is no lakeFS server has no repository either, and says so here.
        _ = lake.storage
        return None
    return answer


def make(lake: Lake) -> None:
    """Make the repository where it is missing, and protect its base branch.

    Raises:
        LakeError: The server says no place for a repository, another one has used that place, the
            repository is read-only, or it has no such base branch.
    """
    from lakefs.exceptions import NotFoundException

    repository = found(lake) or _made(lake)
    if repository.read_only:
        raise LakeError(read_only(lake.credentials.endpoint, lake.repository))
    try:
        lake.repo().branch(lake.base_branch).get_commit()
    except NotFoundException as error:
        raise LakeError(
            f"repository {lake.repository!r} has no branch {lake.base_branch!r}: create "
            "it there, or correct LAKEFS_BRANCH."
        ) from error
    set_protected(lake, lake.base_branch, protected=True)


def read_only(endpoint: str, repository: str = "") -> str:
    """The sentence that a repository takes no writes."""
    named = f"repository {repository!r}" if repository else "the repository"
    return (
        f"{named} on lakeFS at {endpoint} is read-only: what it holds can be read, and nothing "
        "can be published there; set LAKEFS_REPOSITORY to a repository that takes writes."
    )


def _made(lake: Lake) -> Repository:
    """Make the repository, or find the one that another process has just made."""
    from lakefs_sdk.exceptions import ApiException
    from lakefs_sdk.models.repository_creation import RepositoryCreation

    api = lake.client.sdk_client.repositories_api
    wanted = RepositoryCreation(
        name=lake.repository,
        storage_namespace=_namespace(lake),
        default_branch=lake.base_branch,
        storage_id=None,
    )

    def create() -> Repository:
        made: Repository = api.create_repository(wanted)
        return made

    try:
        return settle(create, lambda: found(lake))
    except ApiException as error:
        used = error.status == HTTPStatus.BAD_REQUEST and IN_USE in str(error.body)
        if not used and error.status != HTTPStatus.CONFLICT:
            raise
        # A server marks the place as used before it has made the repository.
        for wait in (0, *WAITS):
            time.sleep(wait)
            if (repository := found(lake)) is not None:
                return repository
        if not used:
            raise
        raise LakeError(
            f"lakeFS at {lake.credentials.endpoint} cannot make the repository "
            f"{lake.repository!r}: {wanted.storage_namespace} holds objects of a repository that "
            "was deleted. Set LAKEFS_REPOSITORY to another name, or create the repository there "
            "with a storage namespace of its own."
        ) from error


def _namespace(lake: Lake) -> str:
    """Where the server is to keep the objects of a new repository."""
    prefix = lake.storage.default_namespace_prefix or PREFIXES.get(lake.storage.blockstore_type)
    if not prefix:
        raise LakeError(
            f"lakeFS at {lake.credentials.endpoint} has no repository {lake.repository!r}, and its "
            "settings do not say where to keep one: create it there with a storage namespace, or "
            "set the server's blockstore.default_namespace_prefix."
        )
    return f"{prefix}{'' if prefix.endswith('/') else '/'}{lake.repository}"


def set_protected(lake: Lake, branch: str, *, protected: bool) -> None:
    """Add a branch to the protection rules or take it out, keeping the rules that others set."""
    from lakefs_sdk.exceptions import ApiException
    from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

    settings, internal = (
        lake.client.sdk_client.repositories_api,
        lake.client.sdk_client.internal_api,
    )
    rule = BranchProtectionRule(pattern=branch)
    for tried in range(1, RULE_TRIES + 1):
        answer = settings.get_branch_protection_rules_with_http_info(lake.repository)
        if (branch in {known.pattern for known in answer.data}) == protected:
            return
        etag = answer.headers.get("ETag")
        if not etag:
            # Without rules there is no ETag, and so no way to replace them under a condition. The
            # server changes the one rule itself, beside whatever somebody has set since.
            change = (
                internal.internal_create_branch_protection_rule
                if protected
                else internal.internal_delete_branch_protection_rule
            )
            change(lake.repository, rule)
            return
        rules = [known for known in answer.data if known.pattern != branch]
        if protected:
            rules.append(rule)
        try:
            # This replaces all rules: without a condition, one that somebody added since they
            # were read would be gone.
            settings.set_branch_protection_rules(lake.repository, rules, if_match=etag)
        except ApiException as error:
            if error.status != HTTPStatus.PRECONDITION_FAILED or tried == RULE_TRIES:
                raise
        else:
            return
