"""Names of columns that a problem's tables, models or monitors cannot hold.

Found when a declaration is read: met by a model after a month of training rows is made, or by a
monitor that takes one column for another, they cost hours, or a wrong report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlops_assets.components.predictions import MODEL_COLUMNS, SCORE
from mlops_assets.components.training_set import PREDICTED_AT, SPLIT, Spine
from mlops_assets.engines.as_of import KNOWN_AT, FeatureView, feature_column
from mlops_assets.ml.encoding import REFUSED_IN_NAMES
from mlops_assets.monitors.concept import LABEL
from mlops_assets.monitors.freshness import AGE
from mlops_assets.tracking.results import MONTH

Path = tuple[str | int, ...]
"""Where a name stands in a declaration."""


def mistakes(
    spine: Spine,
    segment: str,
    views: Sequence[tuple[Path, FeatureView]],
    outcomes: Sequence[str],
) -> Iterator[tuple[Path, str]]:
    """What is wrong with the names of a problem's columns, each with its place and a sentence.

    Args:
        spine: The events.
        segment: The column whose values get models of their own.
        views: The feature views with the features that are joined, and where they are named.
        outcomes: The columns of the events that monitors compare with what was predicted.
    """
    reserved = {PREDICTED_AT, SPLIT, SCORE, *MODEL_COLUMNS}
    # Monitors read the label under that name, whatever it is called.
    reserved |= {LABEL} - {spine.label}
    if segment.lower() == MONTH:
        yield ("segment",), f"{segment!r} names the months of the models: rename the column."
    of_spine = [(("spine", "features", at), name) for at, name in enumerate(spine.features)]
    joined = [(path, feature_column(view, name)) for path, view in views for name in view.features]
    stamps = [(path, feature_column(view, KNOWN_AT)) for path, view in views]
    for path, name in [*of_spine, *joined]:
        yield from ((path, fault) for fault in _faults(name))
    keys = [(("spine", "keys", at), name) for at, name in enumerate(spine.keys)]
    for field in (keys, of_spine, [*joined, *stamps]):
        yield from _repeated(field)
    others: list[tuple[Path, str]] = [
        (("segment",), segment),
        (("spine", "day"), spine.day),
        (("spine", "label"), spine.label),
        *((("monitors", "outcomes", at), name) for at, name in enumerate(outcomes)),
    ]
    columns: list[tuple[Path, str]] = [*keys, *of_spine, *others]
    for path, name in columns:
        if name.lower() in reserved:
            yield path, f"{name!r} is a column of the platform's own tables: rename the column."
    yield from _alike([*columns, *joined, *stamps])
    own = {name for _, name in columns}
    yield from ((path, _twice(name)) for path, name in [*joined, *stamps] if name in own)


def _faults(name: str) -> Iterator[str]:
    """Why a feature cannot have a name."""
    if not name.rpartition("__")[2].strip():
        yield "a feature has no name: name it, or remove it."
    refused = [sign for sign in REFUSED_IN_NAMES if sign in name]
    if refused:
        yield (
            f"{name!r} cannot name a feature, since XGBoost refuses {' '.join(refused)} in names: "
            "rename the column."
        )
    if name.lower().endswith(AGE):
        yield f"{name!r} ends as monitors name the age of a feature view's rows: rename the column."


def _repeated(columns: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for path, name in columns:
        if name in seen:
            yield path, _twice(name)
        seen.add(name)


def _twice(name: str) -> str:
    return f"{name!r} is named a second time: remove one, or rename the column."


def _alike(columns: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """Names that SQL takes for one, since it does not tell upper from lower case."""
    seen: dict[str, str] = {}
    for path, name in columns:
        before = seen.setdefault(name.lower(), name)
        if before != name:
            yield path, f"{name!r} differs from {before!r} only by case: rename one of them."
