"""Gates as asset checks: not blocking, of severity ERROR, with a result for each partition.

Audits decide what is published, gates what is promoted: a report that fails one is published all
the same, and its model is no champion.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from mlops_assets.components import publishing
from mlops_assets.lake import Partition
from mlops_assets.ml.gates import GateResult


def specs(
    asset: dg.AssetKey, gates: Mapping[str, str], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """One check for each gate.

    Args:
        asset: The report that the gates look at.
        gates: What each gate asks for, by its name.
        partitions: The report's partitions.
    """
    with warnings.catch_warnings():
        # Partitioned checks are in preview; a check without partitions would show the last result
        # of any month as that of all.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=asset, description=asks, partitions_def=partitions)
            for name, asks in gates.items()
        ]


def evaluations(
    context: dg.AssetExecutionContext, judged: Mapping[Partition, Sequence[GateResult]]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of the gates that this step was asked for, to be yielded after its assets.

    Evaluations and not results, because Dagster gives a result the partition of its run, and a
    range of partitions is one run. A partition that could not be judged has none.
    """
    wanted = {key.name: key for key in context.selected_asset_check_keys}
    for partition, key in publishing.partitions_by_key(context).items():
        for result in judged.get(partition, ()):
            if result.name in wanted:
                yield dg.AssetCheckEvaluation(
                    asset_key=wanted[result.name].asset_key,
                    check_name=result.name,
                    passed=result.passed,
                    severity=dg.AssetCheckSeverity.ERROR,
                    blocking=False,
                    description=result.sentence,
                    metadata={"limit": result.limit, "value": result.value},
                    partition=key,
                )
