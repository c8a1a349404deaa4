"""Versions of registered models that somebody tagged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import pages
from mlops_assets.tracking.runs import PARTITION


@dataclass(frozen=True)
class TaggedVersion:
    """A version of a registered model.

    Attributes:
        name: The registered model, as `flight_delay.JFK`.
        number: The version's number.
        tags: Its tags.
        partition: The partition of the lake that it was written from; None if it was not.
    """

    name: str
    number: int
    tags: Mapping[str, str]
    partition: str | None


def tagged_versions(registry: Registry, keys: Collection[str]) -> list[TaggedVersion]:
    """The versions that carry a tag of one of these keys.

    Raises:
        TrackingError: The registry does not answer, or refuses.
    """
    found: dict[tuple[str, int], TaggedVersion] = {}
    with registry.opened() as client:
        for key in sorted(keys):
            for version in pages(
                lambda at, wanted=f"tags.`{key}` LIKE '%'": client.search_model_versions(  # type: ignore[misc]
                    wanted, page_token=at
                )
            ):
                number = int(version.version)
                tags = dict(version.tags)
                found[version.name, number] = TaggedVersion(
                    version.name, number, tags, tags.get(PARTITION)
                )
    return [found[place] for place in sorted(found)]
