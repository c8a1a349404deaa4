"""A raw table: a source read, held to its contract and published with its quarantine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.components import publishing
from mlops_assets.components.code_version import code_version
from mlops_assets.components.contract import (
    AbsentDaysError,
    Checked,
    Contract,
    ContractError,
    DayWindow,
    SourceError,
    enforce,
)
from mlops_assets.components.partition_files import FILE, write_partitions, write_table
from mlops_assets.components.provenance import SOURCE
from mlops_assets.components.quarantine import PartitionCount, verdict
from mlops_assets.compute.assignment import profiled
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.lake import (
    File,
    Lake,
    Manifest,
    Partition,
    Publication,
    TablePartition,
    Transaction,
)

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
            `raw/<name>_quarantine`; too many of them in a partition fail the blocking check
            `contract`, and that partition is not published.
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
        **profiled(group=SCHEMA),
    )
    def ingest(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        window = _window(context)
        try:
            rows, absent = _rows(read, window)
            checked = enforce(contract, rows, window)
        except (SourceError, ContractError) as error:
            yield _result(key, passed=False, sentence=str(error))
            raise dg.Failure(str(error), allow_retries=False) from error
        counts = [count for count in checked.counts(window) if count.day not in absent]
        judged = verdict(contract.table, contract.max_quarantined_share, counts)
        source = File.of(file().name, file())
        step = _Ingestion(context, lake, key, f"{SOURCE}{source.name}", source.sha256)
        refused = {
            **{_partition(day): sentence for day, sentence in absent.items()},
            **{_partition(count.day): judged.sentence for count in judged.exceeded},
        }
        passed = [count for count in counts if _partition(count.day) not in refused]
        kept = step.keep(checked, judged.exceeded) if judged.exceeded else ""
        failure = publishing.refusal(context, refused, kept=kept) if refused else None
        told = judged.sentence if failure is None else str(failure.description)
        result = _result(key, passed=failure is None, sentence=told)
        if not passed:
            yield result
        else:
            yield from publishing.materializations(
                context,
                step.publish(checked, passed),
                metadata={key: _shown(passed)},
                check_results=[result],
                complete=failure is None,
            )
        if failure is not None:
            raise failure

    return ingest


def _window(context: dg.AssetExecutionContext) -> DayWindow | None:
    if context.assets_def.partitions_def is None:
        return None
    days = sorted(context.partition_keys)
    return DayWindow(date.fromisoformat(days[0]), date.fromisoformat(days[-1]))


def _rows(
    read: Callable[[DayWindow | None], "pa.Table"], window: DayWindow | None
) -> "tuple[pa.Table, dict[date | None, str]]":
    """The source's rows, and the days that it should have rows of and has none.

    Raises:
        SourceError: The source cannot be read, or has no rows of any day.
    """
    try:
        return read(window), {}
    except AbsentDaysError as error:
        if window is None or len(error.days) == len(list(window)):
            raise
        return error.rows, dict.fromkeys(error.days, str(error))


@dataclass(frozen=True)
class _Ingestion:
    """What a step's transactions share.

    Attributes:
        context: The step's.
        lake: Where.
        key: The table's asset.
        source: The name of the source's file, as a commit's metadata names it.
        sha256: The digest of that file.
    """

    context: dg.AssetExecutionContext
    lake: Lake
    key: dg.AssetKey
    source: str
    sha256: str

    @property
    def _table(self) -> str:
        return publishing.table_name(self.key)

    @property
    def _quarantine(self) -> str:
        return f"{self._table}_quarantine"

    def publish(self, checked: Checked, counts: Sequence[PartitionCount]) -> Publication:
        """Publish the partitions that passed, each with its quarantine."""
        made = {_partition(count.day) for count in counts}
        with publishing.open_transaction(
            self.context, self.lake, also=[self._quarantine]
        ) as transaction:
            self._write(transaction, checked, counts)
            bad = {_partition(count.day) for count in counts if count.quarantined}
            transaction.remove(TablePartition(self._quarantine, part) for part in made - bad)
            message = publishing.step_message(self.context, made)
            return transaction.publish(message, self._metadata())

    def keep(self, checked: Checked, counts: Sequence[PartitionCount]) -> str:
        """Keep partitions with too many bad rows on a branch of their own.

        Returns:
            Where, as a sentence.
        """
        with publishing.open_transaction(
            self.context, self.lake, also=[self._quarantine], of="rejected"
        ) as transaction:
            self._write(transaction, checked, counts)
            made = [_partition(count.day) for count in counts]
            message = f"rejected {publishing.step_message(self.context, made)}"
            transaction.keep(message, self._metadata())
        return (
            "All their rows, the quarantined with their reasons, are kept on branch "
            f"{transaction.branch}."
        )

    def _write(
        self, transaction: Transaction, checked: Checked, counts: Sequence[PartitionCount]
    ) -> None:
        accepted, quarantined = transaction.scratch / "accepted", transaction.scratch / "bad"
        days = [count.day for count in counts if count.day is not None]
        _write(checked.of(days), days, accepted, quarantined)
        bad = {_partition(count.day) for count in counts if count.quarantined}
        transaction.write(
            _described(self._table, accepted, {_partition(count.day) for count in counts})
            | _described(self._quarantine, quarantined, bad)
        )

    def _metadata(self) -> dict[str, str]:
        return {
            **publishing.commit_metadata(self.context),
            self.source: f"sha256:{self.sha256}",
        }


def _write(checked: Checked, days: Sequence[date], accepted: Path, quarantined: Path) -> None:
    if checked.accepted_days is None or checked.quarantined_days is None:
        for table, folder in ((checked.accepted, accepted), (checked.quarantined, quarantined)):
            folder.mkdir()
            write_table(table, folder / FILE)
        return
    write_partitions(checked.accepted, checked.accepted_days, days, accepted)
    bad = sorted(set(checked.quarantined_days.to_pylist()))
    write_partitions(checked.quarantined, checked.quarantined_days, bad, quarantined)


def _described(
    table: str, folder: Path, partitions: set[Partition]
) -> dict[TablePartition, tuple[Manifest, Path]]:
    folders = {folder / part.path: TablePartition(table, part) for part in sorted(partitions)}
    described = describe_tables(folders)
    return {folders[place]: (manifest, place) for place, manifest in described.items()}


def _partition(day: date | None) -> Partition:
    return Partition() if day is None else Partition.of({"day": day.isoformat()})


def _shown(counts: Sequence[PartitionCount]) -> dict[Partition, dict[str, Any]]:
    return {
        _partition(count.day): {
            "quarantined rows": count.quarantined,
            **({"quarantined for": dict(count.reasons)} if count.quarantined else {}),
        }
        for count in counts
    }


def _result(key: dg.AssetKey, *, passed: bool, sentence: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(asset_key=key, check_name=CHECK, passed=passed, description=sentence)
