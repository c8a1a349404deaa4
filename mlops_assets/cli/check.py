"""What a check of the doctor finds, whatever it looks at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        sentence: What was found.
        remedy: What to do; empty where nothing is to be done.
    """

    name: str
    ok: bool
    sentence: str
    remedy: str = ""


def passed(name: str, sentence: str) -> Check:
    """A check that found everything well."""
    return Check(name, ok=True, sentence=sentence)


def problem(name: str, sentence: str, remedy: str) -> Check:
    """A check that found something to be put right."""
    return Check(name, ok=False, sentence=sentence, remedy=remedy)
