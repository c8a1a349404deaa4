"""A machine-learning problem: one declaration becomes training sets, models, reports, champions.

Training sets are made a month at a time for all segments, everything that follows for each month
and segment: a month's as-of joins are done once, and Dagster's own partition mappings, which its
daemon can read, describe every dependency.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from mlops_assets.components import column_names, dbt_tables
from mlops_assets.components.declaration import Declaration
from mlops_assets.components.monitoring import Monitoring
from mlops_assets.components.prediction_assets import PredictionAssets
from mlops_assets.components.problem_assets import ProblemAssets
from mlops_assets.components.problem_monitors import ProblemMonitors
from mlops_assets.components.training_set import Spine, TrainingSet
from mlops_assets.compute.assignment import Rule, mistake_in, rule_ends
from mlops_assets.compute.profiles import ProfileError, configured_profiles
from mlops_assets.engines.as_of import FeatureView
from mlops_assets.ml.gates import Gates
from mlops_assets.ml.threshold import Costs
from mlops_assets.ml.training import Estimator
from mlops_assets.tracking.results import CHAMPION, MODEL, PREDICTIONS, REPORT


class Training(BaseModel):
    """What training a model gets on a cluster."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    profile: str
    """The profile of its pod, by its name in the file of profiles."""
    partitions: Sequence[Rule] = ()
    """Partitions that get another profile, by month or segment; the first that matches holds."""


Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class MlProblem(dg.Component, BaseModel):
    """A binary classification over time, trained on the months before the one it is judged on."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The problem's name; the first part of its assets' keys."""
    description: str
    """What is predicted, when, and for whom."""
    owner: str
    """Who answers for it: `team:…` or an e-mail address."""
    project: str
    """The dbt project that holds the spine and the feature views."""
    first_month: Month
    """The first month that a model is evaluated on, as `2013-04`."""
    end_month: Month
    """The end of the months, exclusive."""
    time_zone: str
    """The time zone whose months they are."""
    segment: str
    """The column whose values get models, and champions, of their own."""
    segments: Annotated[Sequence[str], Field(min_length=1)]
    """Those values."""
    spine: Spine
    """Whose label is predicted, when and from which of its own columns."""
    feature_views: Sequence[str]
    """The feature views to join, in order: a view's name, or `view:feature` for one feature."""
    optional_views: Sequence[str] = ()
    """Feature views without which predictions are still made: what they lack is null."""
    training_months: Annotated[int, Field(gt=0)]
    """How many months before the evaluated one are trained on."""
    baseline: Annotated[Sequence[str], Field(min_length=1)]
    """The columns whose rates the model has to beat."""
    slices: Sequence[str]
    """The columns of the training set whose values the report looks at one by one."""
    costs: Costs
    """What the two kinds of mistakes cost; the report's threshold follows from them."""
    gates: Gates
    """What a model has to pass to become a champion."""
    estimator: Estimator
    """The estimator's parameters."""
    training: Training | None = None
    """What training a model gets on a cluster; the deployment's default profile if left out."""
    monitors: Monitoring | None = None
    """How its predictions are monitored; not at all if left out."""

    _declaration: Declaration = PrivateAttr(default_factory=Declaration)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """What the attributes of a `defs.yaml` are checked by: this class itself."""
        return cls

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Take the checked attributes, and remember where they were written."""
        return cls.model_validate(attributes).declared_in(
            Declaration(context.resolution_context.source_position_tree, context.project_root)
        )

    def declared_in(self, declaration: Declaration) -> Self:
        """Take mistakes to be told with their place in a declaration."""
        self._declaration = declaration
        return self

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Make the four assets, and their jobs: a month's training set; its models judged.

        They are two because a job has one kind of partitions.

        Raises:
            dagster.DagsterInvalidDefinitionError: The declaration names what does not exist, or
                contradicts itself; the sentence names file and line.
        """
        assets = ProblemAssets(self, self.training_set(context.project_root / self.project))
        predictions = PredictionAssets(assets)
        self._check_profiles(assets.partitions)
        # Every process that loads the definitions would say that champions, which wait for the
        # month before, are launched otherwise than the models of their job.
        warnings.filterwarnings("ignore", f"Asset job {self.name}_evaluation materializes")
        return dg.Definitions(
            assets=[
                assets.training_set_asset(),
                assets.model_asset(),
                assets.report_asset(),
                assets.champion_asset(),
                predictions.deployed_model_asset(),
                predictions.predictions_asset(),
                *(ProblemMonitors(predictions, self.monitors).assets() if self.monitors else ()),
            ],
            jobs=[
                dg.define_asset_job(
                    f"{self.name}_training_set",
                    selection=dg.AssetSelection.assets(assets.key("training_set")),
                    description=f"The rows that {self.name} learns a month's models from.",
                ),
                dg.define_asset_job(
                    f"{self.name}_evaluation",
                    selection=dg.AssetSelection.assets(
                        *(assets.key(name) for name in (MODEL, REPORT, CHAMPION))
                    ),
                    description=(
                        f"Models of {self.name}: trained, judged on their month, and promoted if "
                        "they earn it."
                    ),
                ),
                dg.define_asset_job(
                    f"{self.name}_predictions",
                    selection=dg.AssetSelection.assets(assets.key(PREDICTIONS)),
                    description=f"A day of {self.name}, scored by the models that are deployed.",
                ),
            ],
        )

    def training_set(self, project: Path) -> TrainingSet:
        """How the problem's training sets are made, checked against what the dbt project has.

        Args:
            project: The dbt project's folder.

        Raises:
            dagster.DagsterInvalidDefinitionError: The declaration names what does not exist, or
                contradicts itself; the sentence names file and line.
        """
        self._check_times()
        views = self._selected_views(dbt_tables.feature_views(project))
        training_set = TrainingSet(
            spine=self.spine,
            views=views,
            months=self.training_months,
            segment=self.segment,
            time_zone=self.time_zone,
            optional=self._optional_tables(views),
            since=dbt_tables.since(project),
        )
        self._check_columns(dbt_tables.columns(project), training_set)
        return training_set

    def _check_profiles(self, partitions: dg.MultiPartitionsDefinition) -> None:
        if self.training is None:
            return
        try:
            known = configured_profiles().profiles
        except ProfileError as error:
            raise dg.DagsterInvalidDefinitionError(str(error)) from error
        values = {part.name: part.partitions_def for part in partitions.partitions_defs}
        require = self._declaration.require
        require(["training", "profile"], "profile", self.training.profile, known)
        for place, rule in enumerate(self.training.partitions):
            path = ("training", "partitions", place)
            require((*path, "profile"), "profile", rule.profile, known)
            for dimension, value in rule.when.items():
                written = (*path, "when", dimension)
                require(written, "dimension", dimension, values)
                if dimension == self.segment:
                    for end in rule_ends(value):
                        require(written, self.segment, end, self.segments)
                why = mistake_in(value, dimension, values[dimension])
                if why:
                    raise self._declaration.mistake(written, f"the rule {why}")

    def _check_times(self) -> None:
        if self.end_month <= self.first_month:
            raise self._declaration.mistake(
                ["end_month"],
                f"end_month {self.end_month} is not after first_month {self.first_month}; it is "
                "the first month without a model.",
            )
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise self._declaration.mistake(
                ["time_zone"],
                f"there is no time zone {self.time_zone!r}: name one like America/New_York.",
            ) from error
        if self.spine.label_known_at == self.spine.event_time:
            raise self._declaration.mistake(
                ["spine", "label_known_at"],
                f"the label would be known at {self.spine.event_time}, before its event has "
                "ended: name the column of the moment at which the outcome is observed.",
            )

    def _selected_views(self, declared: Mapping[str, FeatureView]) -> list[FeatureView]:
        """The views with the features that are wanted of each, in the order of the declaration."""
        wanted: dict[str, list[str]] = {}
        for place, name in enumerate(self.feature_views):
            view, parted, feature = name.partition(":")
            path: tuple[str | int, ...] = ("feature_views", place)
            self._declaration.require(path, "feature view", view, declared)
            if parted:
                known = declared[view].features
                self._declaration.require(path, f"feature of {view}", feature, known)
            chosen = [feature] if parted else declared[view].features
            repeated = [one for one in chosen if one in wanted.get(view, [])]
            if repeated:
                raise self._declaration.mistake(
                    path, f"{view}:{repeated[0]} is named a second time: remove one."
                )
            wanted.setdefault(view, []).extend(chosen)
        return [
            declared[view].model_copy(update={"features": features})
            for view, features in wanted.items()
        ]

    def _optional_tables(self, views: Sequence[FeatureView]) -> tuple[str, ...]:
        joined = {view.table.rpartition("/")[2]: view.table for view in views}
        for place, name in enumerate(self.optional_views):
            self._declaration.require(["optional_views", place], "joined view", name, joined)
        return tuple(sorted(joined[name] for name in self.optional_views))

    def _check_columns(
        self, tables: Mapping[str, Sequence[str]], training_set: TrainingSet
    ) -> None:
        """Refuse columns that the spine, or the training set, will not have."""
        self._check_spine(tables)
        self._check_names(training_set)
        require = self._declaration.require
        columns = tables[self.spine.table]
        kind = f"column of {self.spine.table}"
        require(["segment"], kind, self.segment, columns)
        for place, view in enumerate(training_set.views):
            for entity in view.entities:
                require(["feature_views", place], kind, entity, columns)
        for field in ("baseline", "slices"):
            for place, name in enumerate(getattr(self, field)):
                require([field, place], "column of the training set", name, training_set.columns)
        if self.monitors is not None:
            for place, name in enumerate(self.monitors.slices):
                require(
                    ("monitors", "slices", place),
                    "column of the training set",
                    name,
                    training_set.columns,
                )
            for place, name in enumerate(self.monitors.outcomes):
                require(("monitors", "outcomes", place), kind, name, columns)
        if self.gates.slice_roc_auc is not None:
            path = ("gates", "slice_roc_auc", "column")
            require(path, "slice", self.gates.slice_roc_auc.column, self.slices)

    def _check_names(self, training_set: TrainingSet) -> None:
        """Refuse columns that a model, an engine or the platform's own tables could not hold."""
        named = [name.partition(":")[0] for name in self.feature_views]
        views: list[tuple[column_names.Path, FeatureView]] = [
            (("feature_views", named.index(view.table.rpartition("/")[2])), view)
            for view in training_set.views
        ]
        outcomes = self.monitors.outcomes if self.monitors else ()
        for path, sentence in column_names.mistakes(self.spine, self.segment, views, outcomes):
            raise self._declaration.mistake(path, sentence)

    def _check_spine(self, tables: Mapping[str, Sequence[str]]) -> None:
        spine, require = self.spine, self._declaration.require
        require(["spine", "table"], "dbt model", spine.table, tables)
        columns, kind = tables[spine.table], f"column of {spine.table}"
        for field in ("day", "event_time", "label", "label_known_at"):
            require(["spine", field], kind, getattr(spine, field), columns)
        for field in ("keys", "features"):
            for place, name in enumerate(getattr(spine, field)):
                require(["spine", field, place], kind, name, columns)
        for place, name in enumerate(spine.features):
            if name in (spine.label, spine.label_known_at):
                raise self._declaration.mistake(
                    ["spine", "features", place],
                    f"{name!r} is known only with the label and cannot be a feature: remove it.",
                )


def json_schema() -> dict[str, object]:
    """The JSON schema of a `defs.yaml` that declares a problem, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A machine-learning problem",
        "type": "object",
        "properties": {
            "type": {"const": f"{MlProblem.__module__}.{MlProblem.__qualname__}"},
            "attributes": {"$ref": "#/$defs/MlProblem"},
        },
        "required": ["type", "attributes"],
        "additionalProperties": False,
        "$defs": {
            "MlProblem": {
                key: value for key, value in MlProblem.model_json_schema().items() if key != "$defs"
            },
            **MlProblem.model_json_schema().get("$defs", {}),
        },
    }


SCHEMA_FILE = Path(__file__).with_name("ml_problem.schema.json")
