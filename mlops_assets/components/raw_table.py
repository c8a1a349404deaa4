"""A raw table: a source read, held to its contract and published with its quarantine."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components import publishing
from mlops_assets.components.code_version import code_version
from mlops_assets.components.contract import (
    Checked,
    Contract,
    ContractError,
    DayWindow,
    SourceError,
    enforce,
)
from mlops_assets.components.partition_files import FILE, write_partitions, write_table
from mlops_assets.components.provenance import SOURCE
from mlops_assets.components.quarantine import PartitionCount, Verdict, verdict
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import File, Lake, Manifest, Partition, TablePartition

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "raw"
CHECK = "contract"


def raw_table(
    contract: Contract,
    read: Callable[[DayWindow | None], "pa.Table"],
    *,
    file: Callable[[], Path],
    description: str,
    owner: str,
    code: str,
    partitions: dg.DailyPartitionsDefinition | None = None,
) -> dg.AssetsDefinition:
    """Make the asset of a raw table.

    Args:
        contract: What its rows must look like. A row that breaks it goes to the table
            `raw/<name>_quarantine`; too many of them fail the blocking check `contract`, and
            nothing is published.
        read: Reads the source's rows: of the days asked for, or all if it has no days.
        file: Names the file that `read` reads, whose digest the commit records.
        description: What a row is, and where it comes from.
        owner: Who answers for it.
        code: The dotted name of the package that declares the source and its contract.
        partitions: The days; None for a table that is read as a whole.
    """
    key = dg.AssetKey([SCHEMA, contract.table])

    @dg.multi_asset(
        name=f"{SCHEMA}_{contract.table}",
        specs=[
            dg.AssetSpec(
                key,
                description=description,
                owners=[owner],
                kinds={"parquet"},
                group_name=SCHEMA,
                code_version=code_version(
                    code,
                    __name__,
                    "mlops_assets.components.contract",
                    "mlops_assets.components.partition_files",
                    "mlops_assets.components.quarantine",
                ),
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                blocking=True,
                description=(
                    f"At most {contract.max_quarantined_share:.0%} of a partition's rows break "
                    "the contract."
                ),
            )
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
    )
    def ingest(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        window = _window(context)
        quarantine = f"{publishing.table_name(key)}_quarantine"
        with publishing.open_transaction(context, lake, also=[quarantine]) as transaction:
            try:
                checked = enforce(contract, read(window), window)
            except (SourceError, ContractError) as error:
                yield _result(key, passed=False, sentence=str(error))
                raise dg.Failure(str(error), allow_retries=False) from error
            judged = verdict(contract.table, contract.max_quarantined_share, checked.counts(window))
            accepted, quarantined = transaction.scratch / "accepted", transaction.scratch / "bad"
            _write(checked, window, accepted, quarantined)
            bad = {_partition(count) for count in judged.counts if count.quarantined}
            partitions = publishing.output_partitions(context)
            transaction.write(
                _described(publishing.table_name(key), accepted, partitions)
                | _described(quarantine, quarantined, bad)
            )
            transaction.remove(TablePartition(quarantine, part) for part in partitions - bad)
            message = publishing.step_message(context)
            source = File.of(file().name, file())
            metadata = {
                **publishing.commit_metadata(context),
                f"{SOURCE}{source.name}": f"sha256:{source.sha256}",
            }
            if not judged.passed:
                transaction.keep(f"rejected {message}", metadata)
                yield _result(key, passed=False, sentence=judged.sentence)
                raise dg.Failure(
                    f"{judged.sentence} Nothing was published; all rows, the quarantined with "
                    f"their reasons, are kept on branch {transaction.branch}.",
                    allow_retries=False,
                )
            publication = transaction.publish(message, metadata)
        yield from publishing.materializations(
            context,
            publication,
            metadata={key: _counts(judged)},
            check_results=[_result(key, passed=True, sentence=judged.sentence)],
        )

    return ingest


def _window(context: dg.AssetExecutionContext) -> DayWindow | None:
    if context.assets_def.partitions_def is None:
        return None
    days = sorted(context.partition_keys)
    return DayWindow(date.fromisoformat(days[0]), date.fromisoformat(days[-1]))


def _write(checked: Checked, window: DayWindow | None, accepted: Path, quarantined: Path) -> None:
    if window is None or checked.accepted_days is None or checked.quarantined_days is None:
        for table, folder in ((checked.accepted, accepted), (checked.quarantined, quarantined)):
            folder.mkdir()
            write_table(table, folder / FILE)
        return
    write_partitions(checked.accepted, checked.accepted_days, window, accepted)
    bad = sorted(set(checked.quarantined_days.to_pylist()))
    write_partitions(checked.quarantined, checked.quarantined_days, bad, quarantined)


def _described(
    table: str, folder: Path, partitions: set[Partition]
) -> dict[TablePartition, tuple[Manifest, Path]]:
    folders = {folder / part.path: TablePartition(table, part) for part in sorted(partitions)}
    described = describe_tables(folders)
    return {folders[place]: (manifest, place) for place, manifest in described.items()}


def _partition(count: PartitionCount) -> Partition:
    return Partition() if count.day is None else Partition.of({"day": count.day.isoformat()})


def _counts(judged: Verdict) -> dict[Partition, dict[str, Any]]:
    return {
        _partition(count): {
            "quarantined rows": count.quarantined,
            **({"quarantined for": dict(count.reasons)} if count.quarantined else {}),
        }
        for count in judged.counts
    }


def _result(key: dg.AssetKey, *, passed: bool, sentence: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(asset_key=key, check_name=CHECK, passed=passed, description=sentence)
