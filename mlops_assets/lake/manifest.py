"""The manifest of a partition: which files it consists of, by content.

Readers read only what a manifest lists, and its digest is the partition's data version. It
holds no time, no run and no commit: the same content has the same manifest wherever it was made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_assets.lake.errors import LakeError, NewerFormatError
from mlops_assets.lake.partition import MANIFEST_NAME, NAME

FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, order=True)
class File:
    """One file of a partition.

    Attributes:
        name: Its name in the partition's folder.
        sha256: The digest of its bytes, in hexadecimal.
        size: Its length in bytes.

    Raises:
        LakeError: The name could climb out of the folder, or the digest is none.
    """

    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        # Both become paths on disk when a reader downloads the file.
        named = NAME.match(self.name) and self.name != MANIFEST_NAME
        if not named or not _SHA256.match(self.sha256):
            raise LakeError(
                f"{self.name!r} with SHA-256 {self.sha256!r} cannot be a partition's file: use "
                "letters, digits, '_', '.' and '-', and 64 hexadecimal digits."
            )

    @classmethod
    def of(cls, name: str, path: Path) -> File:
        """Describe the file at `path` under the name that it will have in its partition."""
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
            return cls(name=name, sha256=digest.hexdigest(), size=stream.tell())


@dataclass(frozen=True)
class Manifest:
    """What a partition consists of.

    Attributes:
        files: Its files, sorted by name.
        rows: Rows in the partition's table; None where it holds no table.
        schema: Column names and types, in order; empty where it holds no table.
    """

    files: tuple[File, ...]
    rows: int | None = None
    schema: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files)))

    @property
    def data_version(self) -> str:
        """Digest of the partition's file names and contents.

        Never of ETags, which depend on how an object was uploaded.
        """
        content = json.dumps([[file.name, file.sha256] for file in self.files])
        return hashlib.sha256(content.encode()).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path) -> Manifest:
        """Describe a folder whose files, no table among them, are a partition's content."""
        return cls(files=tuple(File.of(path.name, path) for path in folder.iterdir()))

    def to_json(self) -> str:
        """Serialise, the same content always to the same text."""
        return json.dumps(
            {
                "format": FORMAT,
                "files": [[file.name, file.sha256, file.size] for file in self.files],
                "rows": self.rows,
                "schema": list(self.schema.items()),
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str, *, place: str) -> Manifest:
        """Read a manifest.

        Args:
            text: What `to_json` made.
            place: Where the text was found, for the error's sentence.

        Raises:
            NewerFormatError: The manifest is of a newer format.
            LakeError: The text is no manifest.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            found = content["format"]
            if found == FORMAT:
                return cls(
                    files=tuple(File(*file) for file in content["files"]),
                    rows=content["rows"],
                    schema=dict(content["schema"]),
                )
        except (LakeError, ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"{place} is no manifest ({error}): something else than mlops_assets wrote "
                "there; run `mlops-assets doctor --repair`, which restores it from an earlier "
                "commit, or materialize the partition again."
            ) from error
        raise NewerFormatError(
            f"{place} has manifest format {found}, newer than the {FORMAT} that this version "
            "reads: upgrade mlops-assets."
        )
