"""The grammar of names: repositories, branches, tags, paths and reference expressions.

Belongs here: pure parsing and validation. Does not: looking a name up.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from mlops_assets.lakefs_server.errors import InvalidError

_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_BRANCH = re.compile(r"\w[-\w]*", re.ASCII)
_TAG = re.compile(r"[^/^:?*\[\\\x00-\x20]+")
_NAMESPACE = re.compile(r"(?:s3|gs|https?|mem|local|transient)://.+")
_HASH = re.compile(r"[0-9a-fA-F]{1,64}")
_SPACE = re.compile(r"\s", re.ASCII)
_STEPS = re.compile(r"[0-9]{1,9}")  # Python refuses to read numbers of 4,300 digits and more
_MODIFIER = re.compile(r"[~^@$][^~^@$]*")
_LONGEST_PATH = 1024


class Modifier(NamedTuple):
    """A step from a commit: `~N` ancestors, `^N` th parent, `@` without and `$` with staging."""

    kind: str
    steps: int


class RefExpression(NamedTuple):
    """A name and the steps from it."""

    name: str
    modifiers: tuple[Modifier, ...]


def parse_ref(text: str) -> RefExpression:
    """Split `main~2^1` into its name and modifiers.

    Raises:
        InvalidError: there is no name, or a modifier is malformed.
    """
    name = re.split(r"[~^@$]", check_ref(text), maxsplit=1)[0]
    if not name:
        raise InvalidError(f"ref: invalid value: '{text}' names no branch, tag or commit")
    return RefExpression(name, tuple(map(_modifier, _MODIFIER.findall(text[len(name) :]))))


def _modifier(text: str) -> Modifier:
    kind, steps = text[0], text[1:]
    if steps and (kind in "@$" or not _STEPS.fullmatch(steps)):
        raise InvalidError(f"ref: invalid value: could not parse modifier {text}")
    return Modifier(kind, int(steps or 1))


def is_hash(text: str) -> bool:
    """Whether `text` could be a commit id or the beginning of one."""
    return _HASH.fullmatch(text) is not None


def check_repository(name: str) -> str:
    """Return the name, or raise InvalidError where lakeFS would not accept it."""
    if not _REPOSITORY.fullmatch(name):
        raise InvalidError(
            f"repository id: invalid value: '{name}' (3 to 63 small letters, digits and hyphens)"
        )
    return name


def check_ref(text: str) -> str:
    """Return the reference, or raise InvalidError if it is empty or holds white space."""
    if not text or _SPACE.search(text):
        raise InvalidError(f"ref: invalid value: '{text}' is no reference")
    return text


def check_branch(name: str) -> str:
    """Return the name, or raise InvalidError where lakeFS would not accept it."""
    if not _BRANCH.fullmatch(name):
        raise InvalidError(
            f"branch id: invalid value: '{name}' (letters, digits, underscores and hyphens)"
        )
    return name


def check_tag(name: str) -> str:
    """Return the name, or raise InvalidError where lakeFS would not accept it."""
    bad = name == "@" or "@{" in name or ".." in name or name.endswith((".", ".lock"))
    if bad or not _TAG.fullmatch(name):
        raise InvalidError(f"tag id: invalid value: '{name}'")
    return name


def check_namespace(name: str) -> str:
    """Return the storage namespace, or raise InvalidError if it is no URL."""
    if not _NAMESPACE.fullmatch(name):
        raise InvalidError(f"invalid storage namespace '{name}': give one such as local://lake")
    return name


def check_path(path: str) -> str:
    """Return an object's path, or raise InvalidError if it is empty, too long or has a NUL."""
    if not path:
        raise InvalidError("path: required value: name the object")
    if len(path.encode()) > _LONGEST_PATH:
        raise InvalidError(f"path: invalid value: longer than {_LONGEST_PATH} bytes")
    if "\x00" in path:
        raise InvalidError("path: invalid value: it holds a NUL")
    return path


def is_protected(branch: str, patterns: list[str]) -> bool:
    """Whether a branch protection rule matches the branch."""
    return any(fnmatchcase(branch, pattern) for pattern in patterns)
