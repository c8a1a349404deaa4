"""Which partitions every table has, followed from commit to commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.lake.history import changed_between
from mlops_assets.lake.partition import MANIFEST_NAME, Partition, TablePartition

if TYPE_CHECKING:
    from mlops_assets.lake.connection import Lake

PAGE = 1_000


class Contents:
    """The partitions of the base branch as of the last look.

    The first look lists every object; the next ones ask for what has changed, since a lake of
    10,000 partitions takes seconds to list.

    Attributes:
        commit: The head that was looked at; empty before the first look.
        tables: The partitions of every table.
        changed: The tables whose partitions the last look found changed.
    """

    def __init__(self, lake: Lake) -> None:
        self.commit = ""
        self.tables: dict[str, set[Partition]] = {}
        self.changed: set[str] = set()
        self._lake = lake

    def follow(self) -> None:
        """Bring it up to the base branch's head.

        Raises:
            LakeError: The server does not answer or refuses.
        """
        head = self._lake.head()
        if head == self.commit:
            self.changed = set()
            return
        now: list[TablePartition] = (
            changed_between(self._lake, self.commit, head) if self.commit else self._listed(head)
        )
        gone = (
            set(changed_between(self._lake, head, self.commit)) - set(now) if self.commit else set()
        )
        for key in now:
            self.tables.setdefault(key.table, set()).add(key.partition)
        for key in gone:
            self.tables[key.table].discard(key.partition)
        self.changed = {key.table for key in (*now, *gone)}
        self.commit = head

    def _listed(self, commit: str) -> list[TablePartition]:
        found: list[TablePartition] = []
        after = ""
        with self._lake.errors():
            while True:
                page = self._lake.client.sdk_client.objects_api.list_objects(
                    self._lake.repository,
                    commit,
                    after=after,
                    amount=PAGE,
                    user_metadata=False,
                    presign=False,
                )
                places = (entry.path.rpartition("/") for entry in page.results)
                found += [
                    TablePartition.from_folder(folder)
                    for folder, _, name in places
                    if name == MANIFEST_NAME
                ]
                if not page.pagination.has_more:
                    return found
                after = page.pagination.next_offset
