"""How a problem is monitored, as its declaration says."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.monitors.concept import Concept
from mlops_assets.monitors.drift import Drift
from mlops_assets.monitors.finding import Monitor
from mlops_assets.monitors.freshness import Freshness
from mlops_assets.monitors.performance import Performance
from mlops_assets.monitors.quality import Quality


class Monitoring(BaseModel):
    """What monitors look at, and what they call an alarm."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    slices: Sequence[str] = ()
    """Columns of the predictions by whose values performance and concept are looked at."""
    outcomes: Sequence[str] = ()
    """Columns of the spine's table that say in numbers what the label says, such as minutes of
    delay, early ones below zero; they betray a change long before the label's rate does."""
    raw_tables: Sequence[str] = ()
    """Raw tables whose quarantined rows are watched."""
    reference_days: Annotated[int, Field(ge=7, le=366)] = 28
    """How many days before it a day is compared with."""
    fewest_days: Annotated[int, Field(ge=5, le=366)] = 14
    """With fewer of them that have a figure, the figure is no alarm."""
    alarm_probability: Annotated[float, Field(gt=0, lt=0.1)] = 1e-6
    """How likely one figure of one day is to be called an alarm by chance; a day has hundreds."""


def monitors(
    declared: Monitoring,
    *,
    features: Sequence[str],
    views: Sequence[str],
    dated: Sequence[str],
) -> dict[str, Monitor]:
    """The monitors of a problem, by name.

    Args:
        declared: How it is monitored.
        features: The columns that its models are given.
        views: Its feature views.
        dated: Those of the features that follow from the date alone.
    """
    probability = declared.alarm_probability
    slices, outcomes = tuple(declared.slices), tuple(declared.outcomes)
    varying = tuple(name for name in features if name not in dated)
    return {
        "performance": Performance(slices, probability),
        "drift": Drift(varying, probability),
        "concept": Concept(slices, outcomes, probability),
        "quality": Quality(tuple(features), tuple(dated), probability),
        "freshness": Freshness(tuple(views), probability),
    }
