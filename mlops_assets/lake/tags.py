"""The names that people give to commits."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_assets.lake.connection import Lake

PAGE = 1_000


def tags(lake: Lake) -> dict[str, str]:
    """The repository's tags with the commit that each names, by name.

    Raises:
        LakeError: The server does not answer or refuses.
    """
    found: dict[str, str] = {}
    after = ""
    with lake.errors():
        while True:
            # The client's own iterator drops the commit, and would ask for each by itself.
            page = lake.client.sdk_client.tags_api.list_tags(
                lake.repository, after=after, amount=PAGE
            )
            found |= {tag.id: tag.commit_id for tag in page.results}
            if not page.pagination.has_more:
                return dict(sorted(found.items()))
            after = page.pagination.next_offset


def newest_before(lake: Lake, commit: str, among: Collection[str]) -> str:
    """The newest of some commits that a commit follows; the repository's first if it follows none.

    Along first parents, as the base branch moves. The times of commits are whole seconds, in which
    a commit and the one before can be the same.

    Raises:
        LakeError: The server does not answer or refuses.
    """
    with lake.errors():
        log = iter(lake.repo().ref(commit).log(first_parent=True))
        last = next(log).id
        for entry in log:
            last = entry.id
            if last in among:
                break
    return str(last)
