"""What can go wrong between a step and the lake, each as one sentence with the way out."""

from __future__ import annotations


class LakeError(Exception):
    """A failure of the lake, its message fit to be shown to the user as it is."""


class UnreachableLakeError(LakeError):
    """The server does not answer, or refuses the credentials."""


class NewerFormatError(LakeError):
    """A newer version wrote it: nothing is damaged, and this version must not replace it."""


class MissingPartitionError(LakeError):
    """A reader asked for partitions that do not exist at its pin."""


class ConflictError(LakeError):
    """Another writer published the same partition first; nothing of this one shows."""


class UnmergedError(LakeError):
    """A branch is not deleted, since it has commits that its base branch lacks."""
