"""Gates as asset checks: not blocking, of severity ERROR, with a result for each partition.

Audits decide what is published, gates what is promoted: a report that fails one is published all
the same, and its model is no champion.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.events import DagsterEvent

from mlops_assets.components import partition_checks
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
    return [partition_checks.spec(name, asset, asks, partitions) for name, asks in gates.items()]


def evaluations(
    context: dg.AssetExecutionContext, judged: Mapping[Partition, Sequence[GateResult]]
) -> Iterator[DagsterEvent]:
    """The results of the gates that this step was asked for, to be yielded after its assets.

    A partition that could not be judged has none.
    """
    wanted = {key.name: key.asset_key for key in context.selected_asset_check_keys}
    for asset in sorted(set(wanted.values())):
        found = {
            partition: [
                partition_checks.Finding(
                    result.name,
                    result.passed,
                    result.sentence,
                    {"limit": result.limit, "value": result.value},
                )
                for result in results
                if result.name in wanted
            ]
            for partition, results in judged.items()
        }
        yield from partition_checks.evaluations(context, asset, found)
