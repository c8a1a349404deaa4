"""As-of joins: what was known of an entity at the moment of a prediction.

For each row of a spine and each feature view, the newest row of the row's entity whose
timestamp is not after the prediction time, if it is not older than the view's time to live.
Feast's file join does the same and took 94 s where DuckDB's ASOF JOIN took 0.01 s.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from mlops_assets.engines.duckdb import quote

KNOWN_AT = "known_at"
"""What ends the name of the column of the moment from which a view's row was known."""


class FeatureView(BaseModel):
    """A table of feature values over time.

    Attributes:
        table: Its name in the lake: schema and name.
        entities: The columns that name the entity, the same in the spine.
        timestamp: The column of the moment from which a row is known (UTC).
        features: The columns that are features.
        look_back_days: How many days before its own a partition is computed from.
        ttl_hours: The age beyond which a row no longer counts, in hours; None if it always does.
        owner: Who answers for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    entities: Sequence[str] = Field(min_length=1)
    timestamp: str
    features: Sequence[str] = Field(min_length=1)
    look_back_days: int = Field(0, ge=0)
    ttl_hours: int | None = Field(None, gt=0)
    owner: str

    @property
    def relation(self) -> str:
        """The view as a quoted SQL relation."""
        return ".".join(quote(part) for part in self.table.split("/"))


def as_of_join(
    spine: str, prediction_time: str, views: Sequence[FeatureView], *, stamped: bool = False
) -> str:
    """Write the query that adds every view's features to a spine.

    Args:
        spine: A relation or a parenthesised query, with every view's entity columns.
        prediction_time: The spine's column of the moment of the prediction (UTC).
        views: The feature views to add, in order.
        stamped: Whether to add, as `<view>__known_at`, the moment from which the row of each view
            was known; null where nothing was.

    Returns:
        A query with the spine's columns and then each feature, as `<view>__<feature>`; null
        where nothing was known.
    """
    columns, joins = ["spine.*"], []
    time = f"spine.{quote(prediction_time)}"
    for position, view in enumerate(views):
        alias = f"view_{position}"
        stamp = f"{alias}.{quote(view.timestamp)}"
        matches = [f"spine.{quote(name)} = {alias}.{quote(name)}" for name in view.entities]
        joins.append(
            f"asof left join {view.relation} as {alias} "
            f"on {' and '.join([*matches, f'{time} >= {stamp}'])}"
        )
        fresh = (
            "true"
            if view.ttl_hours is None
            else f"{stamp} > {time} - interval {view.ttl_hours} hour"
        )
        columns += [
            f"case when {fresh} then {alias}.{quote(name)} end as "
            f"{quote(feature_column(view, name))}"
            for name in view.features
        ]
        if stamped:
            columns.append(
                f"case when {fresh} then {stamp} end as {quote(feature_column(view, KNOWN_AT))}"
            )
    return f"select {', '.join(columns)} from {spine} as spine {' '.join(joins)}"  # noqa: S608


def feature_column(view: FeatureView, feature: str) -> str:
    """The column that holds a view's feature in a training set."""
    return f"{view.table.rpartition('/')[2]}__{feature}"
