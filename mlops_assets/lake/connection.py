"""The connection to one repository on one lakeFS server.

Every call to the official client goes through here or through what is opened from here, so
that a failing server is one sentence wherever it is met.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.lake import repositories
from mlops_assets.lake.answers import be_patient, bound
from mlops_assets.lake.errors import (
    ConflictError,
    LakeError,
    UnmergedError,
    UnreachableLakeError,
)
from mlops_assets.lake.local_store import store_of
from mlops_assets.lake.snapshot import Snapshot
from mlops_assets.lake.transaction import Transaction

if TYPE_CHECKING:
    import lakefs
    from lakefs_sdk.models.storage_config import StorageConfig

WORK_PREFIX = "tx-"
"""What the name of a work branch starts with, and so of its scratch folder."""

READ_ONLY, INSUFFICIENT = "read-only repository", "insufficient permissions"
"""Words of a server's refusals, which it tells apart by nothing else."""

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which no step can still be writing in its scratch folder: steps take minutes."""


@dataclass(frozen=True)
class Credentials:
    """Where a lakeFS server answers and who we are there.

    Attributes:
        endpoint: The server's address without a path, `http://127.0.0.1:8000`.
        access_key_id: The key's name.
        secret_access_key: The key; kept out of `repr` and so out of logs.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@contextmanager
def plain_errors(endpoint: str) -> Iterator[None]:
    """Turn what the client raises into a sentence with the way out.

    Raises:
        UnreachableLakeError: Nobody answers, or the credentials are refused.
        ConflictError: The server reported a conflict.
        LakeError: The server refused for any other reason: permissions, a read-only repository.
    """
    import urllib3.exceptions
    from lakefs.exceptions import LakeFSException, api_exception_handler

    try:
        # Calls of the generated client raise errors of its own, whose bodies nobody has read.
        with api_exception_handler():
            yield
    except LakeFSException as error:
        raise _refusal(endpoint, error) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise UnreachableLakeError(
            f"no lakeFS server answers at {endpoint} ({_root_cause(error)}): start it, or correct "
            "LAKECTL_SERVER_ENDPOINT_URL (unset it to use the embedded server)."
        ) from error


def _refusal(endpoint: str, error: Exception) -> LakeError:
    """What a server's refusal means, with the way out."""
    from lakefs import exceptions

    reason = _reason(error)
    if isinstance(error, exceptions.NotAuthorizedException):
        # The client says so of whatever keeps it from reading the server's configuration.
        if error.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return _no_lakefs(endpoint, error.status_code)
        if INSUFFICIENT in reason:
            return LakeError(
                f"lakeFS at {endpoint} does not permit this ({reason}): grant it to the user of "
                "LAKECTL_CREDENTIALS_ACCESS_KEY_ID, or use a key that may."
            )
        return UnreachableLakeError(
            f"lakeFS at {endpoint} refuses the credentials: correct "
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID and LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY."
        )
    if isinstance(error, exceptions.ConflictException):
        return ConflictError(f"lakeFS at {endpoint} reports a conflict: {reason}")
    if READ_ONLY in reason:
        return LakeError(repositories.read_only(endpoint))
    return LakeError(f"lakeFS at {endpoint} refused: {reason}")


def _no_lakefs(endpoint: str, status: int | None) -> UnreachableLakeError:
    return UnreachableLakeError(
        f"{endpoint} answers {status}, as no lakeFS server does: correct "
        "LAKECTL_SERVER_ENDPOINT_URL (unset it to use the embedded server)."
    )


def _reason(error: Exception) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and "message" in body:
        return str(body["message"])
    # The generated client's errors print the response's headers over several lines.
    return str(getattr(error, "reason", None) or error)


def _root_cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return type(reason).__name__ if isinstance(reason, Exception) else type(error).__name__


def _sweep(scratch: Path) -> None:
    """Remove the folders of transactions whose process was killed, which no `finally` reaches."""
    before = time.time() - ABANDONED_AFTER
    for folder in scratch.glob(f"{WORK_PREFIX}*"):
        # Another process may be sweeping the same folder.
        with suppress(FileNotFoundError):
            if folder.lstat().st_mtime < before and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


class Lake:
    """One repository of versioned tables.

    Args:
        credentials: The server and the key.
        repository: The repository's name; made by `create` where it does not exist.
        base_branch: The branch that publishing merges into.
        scratch: A folder for files on their way into the lake and copies of remote files.

    Attributes:
        opened: The work branches that its transactions were opened on.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        repository: str,
        base_branch: str,
        scratch: Path,
    ) -> None:
        self.credentials = credentials
        self.repository = repository
        self.base_branch = base_branch
        self.scratch = scratch
        self.opened: list[str] = []

    @cached_property
    def client(self) -> lakefs.Client:
        """The official client."""
        import lakefs

        made = lakefs.Client(
            host=self.credentials.endpoint,
            username=self.credentials.access_key_id,
            password=self.credentials.secret_access_key,
        )
        bound(made)
        return made

    @cached_property
    def storage(self) -> StorageConfig:
        """What the server says of how it stores.

        Raises:
            UnreachableLakeError: It does not answer as a lakeFS server does.
        """
        from lakefs_sdk.exceptions import NotFoundException
        from lakefs_sdk.models.storage_config import StorageConfig

        # The client keeps its own copy of this in a class, where a second server overwrites it.
        with self.errors():
            try:
                found = self.client.sdk_client.config_api.get_config().storage_config
            except (NotFoundException, ValueError) as error:
                raise _no_lakefs(
                    self.credentials.endpoint, getattr(error, "status", 200)
                ) from error
        return found or StorageConfig.construct(blockstore_type="", pre_sign_support=False)

    @property
    def pre_signed(self) -> bool:
        """Whether bytes travel by pre-signed links, as they do where the store is S3."""
        return self.storage.pre_sign_support

    @cached_property
    def store(self) -> Path | None:
        """The folder of this machine in which our own server keeps bytes; None of any other."""
        return store_of(self.storage.blockstore_description)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the client's failures into sentences; see `plain_errors`."""
        with plain_errors(self.credentials.endpoint):
            yield

    def repo(self) -> lakefs.Repository:
        """The client's repository object."""
        import lakefs

        return lakefs.Repository(self.repository, client=self.client)

    def exists(self) -> bool:
        """Whether the server has the repository."""
        with self.errors():
            return repositories.found(self) is not None

    def create(self) -> None:
        """Make the repository and protect its base branch, where that has not been done.

        Protection lets merges through and refuses direct writes, so that nothing reaches the
        base branch but a transaction. Safe to call from many processes at once. Where a process
        opens a lake, so what killed processes left in the scratch folder goes here too.
        """
        _sweep(self.scratch)
        with self.errors():
            repositories.make(self)

    def unprotect(self, branch: str) -> None:
        """Take a branch that is to be dropped from the protection rules."""
        with self.errors():
            repositories.set_protected(self, branch, protected=False)

    def head(self, ref: str | None = None) -> str:
        """The commit that a branch, a tag or an expression names now; the base branch's if None."""
        return str(self._commit(ref or self.base_branch).id)

    def _commit(self, ref: str) -> lakefs.Commit:
        from lakefs.exceptions import NotFoundException

        with self.errors():
            try:
                return self.repo().ref(ref).get_commit()
            except NotFoundException as error:
                # A server says that there is none, and not always of which name.
                raise LakeError(
                    f"lakeFS at {self.credentials.endpoint} refused: {ref!r} names no branch, tag "
                    f"or commit there ({_reason(error)}); correct the name."
                ) from error

    def first_commit(self) -> str:
        """The commit that the repository began with, which holds nothing."""
        with self.errors():
            *_, first = self.repo().ref(self.base_branch).log(first_parent=True)
        return str(first.id)

    def snapshot(self, ref: str | None = None) -> Snapshot:
        """Pin a state of the lake for reading; the base branch's head if `ref` is None."""
        return Snapshot(self, self.head(ref))

    def transaction(self, branch: str, tables: Sequence[str]) -> Transaction:
        """Open a transaction that may write the partitions of `tables` only.

        Args:
            branch: The work branch's name, unique to this attempt of this step of this run.
            tables: The names of the tables that it may write.
        """
        self.opened.append(branch)
        be_patient(self.client)
        return Transaction(self, branch=branch, tables=tables)

    @contextmanager
    def temporary(self, branch: str, commit: str) -> Iterator[Lake]:
        """A base branch of its own from a commit, for work that nobody else is to see.

        Args:
            branch: Its name, unique; with the prefix of a work branch, so that one which a killed
                process leaves behind is listed with those.
            commit: Where it starts.

        Yields:
            The lake with that base branch. At the end, however it comes, the branch is deleted,
            and every work branch that transactions on it left.
        """
        made = self.on_branch(branch)
        with self.errors():
            self.repo().branch(branch).create(commit)
        try:
            yield made
        finally:
            for name in {branch, *made.opened} & set(self.work_branches()):
                self.delete_branch(name, discard=True)

    def delete_branch(self, name: str, *, discard: bool = False) -> None:
        """Delete a branch, the only way in which any is; one that is gone already is no error.

        Args:
            name: The branch.
            discard: Delete it also with commits that the base branch lacks: what was never to be
                published, or what somebody asked to throw away.

        Raises:
            UnmergedError: It has such commits, or changes without a commit, and stays.
        """
        from lakefs.exceptions import NotFoundException

        with self.errors(), suppress(NotFoundException):
            if not discard:
                self.require_merged(name)
            self.repo().branch(name).delete()

    def require_merged(self, name: str) -> None:
        """Refuse to let a branch go that the base branch does not hold all of.

        Raises:
            UnmergedError: It has commits that the base branch lacks, or changes without a commit.
        """
        with self.errors():
            branch = self.repo().branch(name)
            lacking = self.lacks(str(branch.get_commit().id))
            if lacking or next(iter(branch.uncommitted(max_amount=1)), None) is not None:
                what = "commits" if lacking else "uncommitted changes"
                way = f"`mlops-assets branch merge {name}` publishes them, " if lacking else ""
                raise UnmergedError(
                    f"{name} has {what} that {self.base_branch} lacks, and is not deleted: "
                    f"{way}`mlops-assets branch drop --force {name}` throws them away."
                )

    def lacks(self, commit: str) -> bool:
        """Whether the base branch does not hold all of a commit.

        Two answers have to agree: where the histories part, and what the commit has changed since.
        """
        with self.errors():
            parted = self.client.sdk_client.refs_api.find_merge_base(
                self.repository, commit, self.base_branch
            )
            changed = (
                self.repo()
                .ref(self.base_branch)
                .diff(other_ref=commit, type="three_dot", max_amount=1)
            )
            return parted.base_commit_id != commit or next(iter(changed), None) is not None

    def on_branch(self, name: str) -> Lake:
        """The same repository with another base branch."""
        return Lake(
            self.credentials, repository=self.repository, base_branch=name, scratch=self.scratch
        )

    def commit_info(self, commit: str) -> dict[str, Any]:
        """A commit's id, parents, message, time (seconds since 1970, UTC) and metadata."""
        found = self._commit(commit)
        return {
            "id": found.id,
            "parents": list(found.parents),
            "message": found.message,
            "creation_date": found.creation_date,
            "metadata": dict(found.metadata or {}),
        }

    def work_branches(self) -> list[str]:
        """The names of the work branches that failed or unfinished transactions left behind."""
        with self.errors():
            return [branch.id for branch in self.repo().branches(prefix=WORK_PREFIX)]
