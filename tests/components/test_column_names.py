"""Names of columns that nothing could hold are refused when a problem is declared."""

from typing import Any

import pytest
from toy_problem import ATTRIBUTES

from mlops_assets.components.column_names import mistakes
from mlops_assets.components.training_set import Spine
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.ml.encoding import REFUSED_IN_NAMES
from mlops_assets.ml.model import Feature, feature_matrix


def told(
    *features: str, view: tuple[str, ...] = ("rate",), segment: str = "origin", **spine: Any
) -> str:
    """What is said first of a problem with such names, and where."""
    declared = Spine(**{**ATTRIBUTES["spine"], "features": features, **spine})
    joined = FeatureView(
        table="features/plane",
        entities=["carrier"],
        timestamp="at",
        features=view,
        owner="team:tests",
    )
    outcomes = spine.pop("outcomes", ())
    found = mistakes(declared, segment, [(("feature_views", 0), joined)], outcomes)
    return next((f"{path[0]}: {sentence}" for path, sentence in found), "")


def test_names_of_any_other_kind_are_taken() -> None:
    assert told("distance", "Ziel (km)", "größe", "a,b", "carrier", "origin") == ""
    assert told("distance", label="label") == ""


@pytest.mark.parametrize("name", ["a[1]", "a]", "a<b"])
def test_a_feature_that_xgboost_refuses_is_refused(name: str) -> None:
    assert "XGBoost refuses" in told("distance", name)
    assert told("distance", view=(name,)).startswith("feature_views: ")


def test_xgboost_refuses_these_characters_and_no_others_of_ascii() -> None:
    import numpy as np

    refused = ""
    for sign in map(chr, range(1, 128)):
        try:
            feature_matrix(np.zeros((1, 1), np.float32), (Feature(name=f"a{sign}"),))
        except ValueError:
            refused += sign
    assert sorted(refused) == sorted(REFUSED_IN_NAMES)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (("distance", "distance"), "named a second time"),
        (("distance", "Distance"), "only by case"),
        (("Carrier",), "only by case"),
        (("IS_LATE",), "only by case"),
        (("plane__rate",), "named a second time"),
        (("plane__known_at",), "named a second time"),
        (("Plane__Known_At",), "only by case"),
        (("",), "has no name"),
        (("  ",), "has no name"),
        (("score",), "platform's own tables"),
        (("Model",), "platform's own tables"),
        (("model_sha256",), "platform's own tables"),
        (("split",), "platform's own tables"),
        (("predicted_at",), "platform's own tables"),
        (("label",), "platform's own tables"),
        (("wind__age_hours",), "age of a feature view"),
    ],
)
def test_a_feature_that_would_be_taken_for_another_column_is_refused(
    features: tuple[str, ...], says: str
) -> None:
    assert says in told(*features)


def test_every_other_column_is_held_to_the_same() -> None:
    assert "platform's own tables" in told("distance", keys=["score"])
    assert "platform's own tables" in told("distance", day="split")
    assert "named a second time" in told("distance", keys=["carrier", "carrier"])
    assert "names the months" in told("distance", segment="month")
    assert "named a second time" in told("distance", view=("rate", "rate"))
    assert "only by case" in told("distance", view=("rate", "Rate"))
    assert "has no name" in told("distance", view=("",))
    assert "age of a feature view" in told("distance", view=("age_hours",))
