"""A raw table: a source read, held to its contract and published with its quarantine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.components import partition_checks, publishing, younger
from mlops_assets.components.code_version import code_version
from mlops_assets.components.contract import Checked, Contract, ContractError, enforce
from mlops_assets.components.partition_checks import Finding
from mlops_assets.components.partition_files import FILE, write_partitions, write_table
from mlops_assets.components.provenance import SOURCE
from mlops_assets.components.quarantine import PartitionCount, verdict
from mlops_assets.compute.assignment import profiled
from mlops_assets.engines.duckdb import describe_tables
from mlops_assets.engines.schemas import Since
from mlops_assets.lake import (
    Lake,
    Manifest,
    Partition,
    Publication,
    TablePartition,
    Transaction,
)
from mlops_assets.sources.errors import SourceError, SourceUnavailableError
from mlops_assets.sources.source import Rows, Source
from mlops_assets.sources.window import DayWindow

SCHEMA = "raw"
CHECK = "contract"

READERS = tuple(
    f"mlops_assets.sources.{name}"
    for name in ("csv_file", "daily_rows", "database", "folder", "landing", "monthly")
)
"""What decides which rows a source gives; how bytes come here decides none of them."""

WAITS = (10.0, 60.0)
"""Seconds before a step reads a source again that did not answer: a restart takes a minute."""


def raw_table(
    contract: Contract,
    source: Callable[[], Source],
    *,
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
        source: Opens where its rows are read from. The commit records what was read there.
        description: What a row is, and where it comes from.
        owner: Who answers for it.
        code: The dotted name of the package that declares the source and its contract.
        partitions: The days; None for a table that is read as a whole.
    """
    key = dg.AssetKey([SCHEMA, contract.table])
    since = _since(contract)

    @dg.multi_asset(
        name=f"{SCHEMA}_{contract.table}",
        specs=[
            dg.AssetSpec(
                key,
                description=description,
                owners=[owner],
                kinds={"parquet"},
                group_name=SCHEMA,
                metadata=younger.metadata(since),
                code_version=code_version(
                    code,
                    __name__,
                    "mlops_assets.components.contract",
                    "mlops_assets.components.partition_files",
                    "mlops_assets.components.quarantine",
                    *READERS,
                ),
            )
        ],
        check_specs=[
            partition_checks.spec(
                CHECK,
                key,
                f"The source can be read, and at most {contract.max_quarantined_share:.0%} of a "
                "partition's rows break the contract.",
                partitions,
                blocking=True,
            )
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        **profiled(group=SCHEMA),
    )
    def ingest(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[Any]:
        window = _window(context)
        try:
            rows = source().read(contract, window)
            checked = enforce(contract, rows.table, window, rows.days)
        except SourceUnavailableError as error:
            # No result of the check: what was published before is as good as it was.
            raise _later(context, error) from error
        except (SourceError, ContractError) as error:
            refused = dict.fromkeys(publishing.output_partitions(context), str(error))
            yield from partition_checks.evaluations(context, key, _found(refused), blocking=True)
            raise dg.Failure(str(error), allow_retries=False) from error
        judged = {
            _partition(count.day): verdict(contract.table, contract.max_quarantined_share, [count])
            for count in checked.counts(window)
            if count.day not in rows.refused
        }
        exceeded = [count for one in judged.values() for count in one.exceeded]
        passed = [count for one in judged.values() if one.passed for count in one.counts]
        step = _Ingestion(context, lake, key, rows)
        kept = step.keep(checked, exceeded) if exceeded else ""
        refused = {
            **{_partition(day): sentence for day, sentence in rows.refused.items()},
            **{part: one.sentence for part, one in judged.items() if not one.passed},
        }
        if passed:
            yield from publishing.materializations(
                context,
                step.publish(checked, passed),
                metadata={key: _shown(passed)},
                complete=not refused,
            )
        told = {part: one.sentence for part, one in judged.items() if one.passed}
        yield from partition_checks.evaluations(context, key, _found(refused, told), blocking=True)
        if refused:
            raise publishing.refusal(context, refused, kept=kept)
        yield from partition_checks.given(context)

    return ingest


def _since(contract: Contract) -> Since:
    """What the contract declares as younger than some partitions, checked.

    Raises:
        dagster.DagsterInvalidDefinitionError: It names no column, a key, or no day.
    """
    place = f"the contract of {contract.table}"
    for name in contract.since:
        if name not in contract.columns or name in contract.key:
            raise dg.DagsterInvalidDefinitionError(
                f"{place}: since names {name!r}, which is no column beside the key: name one of "
                f"{', '.join(sorted(contract.columns.keys() - set(contract.key)))}."
            )
    return {name: younger.declared(name, day, place) for name, day in contract.since.items()}


def _window(context: dg.AssetExecutionContext) -> DayWindow | None:
    if context.assets_def.partitions_def is None:
        return None
    days = sorted(context.partition_keys)
    return DayWindow(date.fromisoformat(days[0]), date.fromisoformat(days[-1]))


def _found(
    refused: Mapping[Partition, str], passed: Mapping[Partition, str] | None = None
) -> dict[Partition, list[Finding]]:
    return {
        **{part: [Finding(CHECK, False, told)] for part, told in refused.items()},
        **{part: [Finding(CHECK, True, told)] for part, told in (passed or {}).items()},
    }


def _later(
    context: dg.AssetExecutionContext, error: SourceUnavailableError
) -> dg.RetryRequested | dg.Failure:
    """How a step ends whose source does not answer: to be tried again, and at last as failed."""
    tries = context.op_execution_context.retry_number
    if tries < len(WAITS):
        return dg.RetryRequested(max_retries=len(WAITS), seconds_to_wait=WAITS[tries])
    return dg.Failure(str(error))


@dataclass(frozen=True)
class _Ingestion:
    """What a step's transactions share.

    Attributes:
        context: The step's.
        lake: Where.
        key: The table's asset.
        rows: What was read, and from where.
    """

    context: dg.AssetExecutionContext
    lake: Lake
    key: dg.AssetKey
    rows: Rows

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
            **publishing.commit_metadata(
                self.context,
                parameters=younger.metadata(
                    younger.since_of(self.context.job_def.asset_layer.asset_graph, self._table)
                ),
            ),
            **{f"{SOURCE}{name}": f"sha256:{it}" for name, it in self.rows.origins.items()},
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
