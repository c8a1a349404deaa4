"""How a contract is enforced: every row of a table is accepted, or quarantined with its reasons.

Here belong the mechanics that hold for any table: applying a pandera schema to an Arrow table,
the meaning of a duplicated key, and which partition a row belongs to. When a partition has too
many bad rows is `quarantine.py`; what a particular table must look like is declared in `defs/`;
faults of a whole file (missing, truncated, another type) are the source's to report: `sources/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Literal

from mlops_assets.components.quarantine import REASON_SEPARATOR, PartitionCount, reason_counts
from mlops_assets.sources.window import DayWindow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa
    from pandera.errors import SchemaError

    Mask = npt.NDArray[np.bool_]

ColumnKind = Literal["whole", "measure", "text", "instant"]
"""What a column holds: 32-bit integers, doubles, text, or microseconds in UTC."""

REASON = "reason"
"""The column that a quarantine table has beside those of its source."""

REPEATED = "the row repeats another one"
CONTRADICTED = "another row has the same key and says something else"
OUTSIDE = "the stated day lies outside the partition"


_DAY = "the partition's day"  # a column name that no source has


class ContractError(ValueError):
    """A table does not have the columns or types that its contract declares."""


@dataclass(frozen=True)
class DayRule:
    """How the rows of a daily table name their day.

    Attributes:
        stated: the day that a row states, as `date32`; null where that is no date.
        implied: the day that another column implies, as `date32`; null where there is none. It
            decides only where the stated day cannot, so that a row with a mistyped day turns up
            in the quarantine of the day it is about instead of nowhere.
        parts: the columns that state the day: its year, month and day as numbers.
        instant: the column that implies it.
    """

    stated: Callable[[pa.Table], pa.Array]
    implied: Callable[[pa.Table], pa.Array]
    parts: tuple[str, str, str]
    instant: str

    def assign(self, table: pa.Table, window: DayWindow) -> pa.Array:
        """The one day in `window` that each row belongs to, as `date32`; null where none is."""
        import pyarrow.compute as pc

        stated, implied = self.stated(table), self.implied(table)
        return pc.coalesce(
            *(pc.if_else(_within(days, window), days, None) for days in (stated, implied))
        )


@dataclass(frozen=True)
class Contract:
    """What a raw table must look like.

    Attributes:
        table: its name, as errors call it.
        columns: the columns and what they hold, in order. This alone decides the Arrow schema,
            so that no value of a day (a column of nothing but nulls) can change it.
        key: the columns that name a row; no two accepted rows share them.
        rules: builds the pandera schema. A check's failure is a row's reason, so a check of the
            whole frame is made with `row_rule`.
        max_quarantined_share: the largest share of a partition's rows, 0 to 1, that may be
            quarantined before the partition fails.
        days: how rows name their day; None for a table without partitions.
        since: by column the first day (`2013-06-01`) on which it exists. A partition of an earlier
            day may lack it, and reads as null there; on such days no rule holds of it.
    """

    table: str
    columns: Mapping[str, ColumnKind]
    key: tuple[str, ...]
    rules: Callable[[], pandera.DataFrameSchema]
    max_quarantined_share: float
    days: DayRule | None = None
    since: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        """The Arrow schema of the accepted rows."""
        import pyarrow as pa

        types = {
            "whole": pa.int32(),
            "measure": pa.float64(),
            "text": pa.string(),
            "instant": pa.timestamp("us", tz="UTC"),
        }
        return pa.schema([(name, types[kind]) for name, kind in self.columns.items()])

    def quarantine_schema(self) -> pa.Schema:
        """The Arrow schema of the quarantined rows: the accepted ones' and the reason."""
        import pyarrow as pa

        return self.schema().append(pa.field(REASON, pa.string()))


@dataclass(frozen=True)
class Checked:
    """A table after its contract was enforced: every source row is in exactly one of the two.

    Attributes:
        accepted: rows that keep every rule, sorted by day and key, in the contract's schema.
        quarantined: the other rows, in the same order of columns, with `reason`: every rule that
            the row breaks, sorted and joined by "; ".
        accepted_days: the partition of each accepted row, `date32`; None without partitions.
        quarantined_days: the same for the quarantined rows. The day columns of such a row may
            be what is wrong with it, so its partition cannot be read from the row itself.
    """

    accepted: pa.Table
    quarantined: pa.Table
    accepted_days: pa.Array | None
    quarantined_days: pa.Array | None

    def counts(self, window: DayWindow | None = None) -> tuple[PartitionCount, ...]:
        """What each day of `window` holds; without a window, one count for the whole table."""
        if window is None or self.accepted_days is None or self.quarantined_days is None:
            reasons = reason_counts(self.quarantined[REASON].to_pylist())
            return (
                PartitionCount(None, self.accepted.num_rows, self.quarantined.num_rows, reasons),
            )
        accepted = {
            entry["values"]: entry["counts"]
            for entry in self.accepted_days.value_counts().to_pylist()
        }
        by_day: dict[date, list[str]] = {}
        for day, reason in zip(
            self.quarantined_days.to_pylist(), self.quarantined[REASON].to_pylist(), strict=True
        ):
            by_day.setdefault(day, []).append(reason)
        return tuple(
            PartitionCount(
                day, accepted.get(day, 0), len(bad := by_day.get(day, [])), reason_counts(bad)
            )
            for day in window
        )

    def of(self, days: Collection[date]) -> Checked:
        """The rows of some of its days alone; all of a table without partitions."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.accepted_days is None or self.quarantined_days is None:
            return self
        wanted = pa.array(sorted(days), pa.date32())
        good = pc.is_in(self.accepted_days, value_set=wanted)
        bad = pc.is_in(self.quarantined_days, value_set=wanted)
        return Checked(
            self.accepted.filter(good),
            self.quarantined.filter(bad),
            self.accepted_days.filter(good),
            self.quarantined_days.filter(bad),
        )


def row_rule(reason: str, holds: Callable[[pd.DataFrame], pd.Series]) -> pandera.Check:
    """A check over several columns of a row; `reason` is what a row that fails it is given.

    `holds` gets the whole frame and returns one boolean a row; null counts as true, because a
    column that may not be null has a rule of its own.
    """
    import pandera.pandas as pandera

    return pandera.Check(
        lambda frame: holds(frame).fillna(value=True).astype(bool),
        name=reason,
        error=reason,
        ignore_na=False,
    )


def enforce(
    contract: Contract,
    table: pa.Table,
    window: DayWindow | None = None,
    days: pa.Array | None = None,
) -> Checked:
    """Split `table` into the rows that keep `contract` and those that break it.

    Of rows that are identical in every column one is accepted and the rest are quarantined; of
    rows that share a key and differ, none can be believed and all are quarantined. A row whose
    stated day is not in `window` is quarantined in the partition that its other columns imply,
    else in the window's first.

    Args:
        contract: what the rows must look like.
        table: the source's rows, in any order. Columns beyond the contract's are left out.
        window: the days asked for; required exactly if the contract has days.
        days: the day of the window that each row was read for, `date32`, where the source knows:
            a row in the file of one day that states another is a bad row of the file's day.

    Raises:
        ContractError: the table lacks a column or has one of another type.
        ValueError: a window without days in the contract, or the reverse.
    """
    import numpy as np
    import pyarrow as pa

    if (window is None) != (contract.days is None):
        raise ValueError(f"{contract.table} is asked for with {window=}; its contract disagrees.")
    table = _conformed(contract, table)
    broken: dict[str, Mask] = {}
    if window is not None and contract.days is not None:
        if days is None:
            days = contract.days.assign(table, window).fill_null(window.first)
        stated = contract.days.stated(table)
        broken[OUTSIDE] = ~np.asarray(_equal(stated, days))
    with _every_rule():
        frame = _frame(table)
        broken |= _broken_rules(contract, frame, _too_early(contract, days))
    broken |= _broken_keys(frame, contract.key, days)
    reasons = sorted(broken)
    matrix = np.column_stack([broken[reason] for reason in reasons])
    bad = matrix.any(axis=1)

    good_rows = table.filter(pa.array(~bad))
    bad_rows = table.filter(pa.array(bad)).append_column(
        REASON, pa.array(_joined(reasons, matrix[bad]), pa.string())
    )
    good_days = None if days is None else days.filter(pa.array(~bad))
    bad_days = None if days is None else days.filter(pa.array(bad))
    accepted, accepted_days = _ordered(good_rows, good_days, contract.key)
    rest = [name for name in bad_rows.column_names if name not in contract.key]
    quarantined, quarantined_days = _ordered(bad_rows, bad_days, (*contract.key, *rest))
    return Checked(accepted, quarantined, accepted_days, quarantined_days)


def _conformed(contract: Contract, table: pa.Table) -> pa.Table:
    schema = contract.schema()
    for wanted in schema:
        if wanted.name not in table.column_names:
            raise ContractError(f"{contract.table} lacks the column {wanted.name}.")
        found = table.schema.field(wanted.name).type
        if found != wanted.type:
            raise ContractError(
                f"{contract.table}: the column {wanted.name} holds {found}, not {wanted.type}; "
                "read the source with the contract's schema."
            )
    return table.select(schema.names).cast(schema).combine_chunks()


def _frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    # Nullable extension types keep a missing whole number apart from a float, and NaN from null.
    # Categories let a rule look at each distinct text once: a year of flights takes 0.5 s, where
    # five columns of plain strings alone took 1.3 s.
    frame: pd.DataFrame = table.to_pandas(
        types_mapper={pa.int32(): pd.Int32Dtype(), pa.float64(): pd.Float64Dtype()}.get,
        strings_to_categorical=True,
    )
    return frame


def _too_early(contract: Contract, days: pa.Array | None) -> dict[str, Mask]:
    """By column the rows of days on which it does not exist yet."""
    import numpy as np

    if days is None:
        return {}
    dates = np.asarray(days)
    return {name: dates < np.datetime64(first) for name, first in contract.since.items()}


def _broken_rules(
    contract: Contract, frame: pd.DataFrame, exempt: Mapping[str, Mask]
) -> dict[str, Mask]:
    import numpy as np
    import pandera.pandas as pandera

    broken: dict[str, Mask] = {}
    try:
        _bounded(contract.rules()).validate(frame, lazy=True, inplace=True)
    except pandera.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            reason, failed = _failure(error, frame)
            early = exempt.get(getattr(error.schema, "name", None) or "")
            if early is not None:
                failed = failed & ~early
            broken[reason] = broken.get(reason, np.zeros(len(frame), dtype=bool)) | failed
    return broken


@contextmanager
def _every_rule() -> Iterator[None]:
    """Have pandas and pandera apply every rule of a schema, whatever is set around us.

    With PANDERA_VALIDATION_ENABLED=False in its environment, or a depth of SCHEMA_ONLY, a process
    accepted every row; with other forms of frames or rules none was told from another.
    """
    import pandas as pd
    from pandera.config import ValidationDepth, config_context, set_config

    # Forms of rules are chosen for the whole process, when a schema is first used.
    set_config(use_narwhals_backend=False)
    depth = ValidationDepth.SCHEMA_AND_DATA
    with (
        pd.option_context("future.infer_string", False),
        config_context(validation_enabled=True, validation_depth=depth),
    ):
        yield


def _bounded(schema: pandera.DataFrameSchema) -> pandera.DataFrameSchema:
    """Keep pandera from spelling out every failing value.

    A year of flights with one wrong column took 225 s to describe and 0.5 s to check; which rows
    failed is read from the check's output, which is complete all the same.
    """
    for check in [
        *schema.checks,
        *(c for column in schema.columns.values() for c in column.checks),
    ]:
        check.n_failure_cases = 1
    return schema


def _failure(error: SchemaError, frame: pd.DataFrame) -> tuple[str, Mask]:
    import numpy as np
    from pandera.errors import SchemaErrorReason

    column = getattr(error.schema, "name", None)
    if error.reason_code is SchemaErrorReason.SERIES_CONTAINS_NULLS:
        return f"{column} is missing", frame[column].isna().to_numpy()
    if error.reason_code is not SchemaErrorReason.DATAFRAME_CHECK or error.check_output is None:
        raise ContractError(f"A rule of the contract cannot be applied: {error}") from error
    passed = error.check_output.reindex(frame.index, fill_value=True)
    failed = ~passed.fillna(value=False).to_numpy(dtype=bool)
    whole_row = column not in frame.columns
    reason = error.check.error if whole_row else f"{column} breaks {error.check.error}"
    return str(reason), np.asarray(failed)


def _broken_keys(frame: pd.DataFrame, key: Sequence[str], days: pa.Array | None) -> dict[str, Mask]:
    import numpy as np

    contradicted = np.zeros(len(frame), dtype=bool)
    repeated = np.zeros(len(frame), dtype=bool)
    keys = frame[list(key)]
    # A key with a null in it names nothing; its row is quarantined as incomplete.
    named = keys.notna().all(axis="columns").to_numpy()
    if days is not None:
        # Rows meet only within their partition. Were a misdated row of another day to contradict
        # a good one, a range would give that day other content than a run of the day alone.
        keys = keys.assign(**{_DAY: np.asarray(days.cast("int32"))})
    shared = keys.duplicated(keep=False).to_numpy() & named
    if shared.any():
        repeated[shared] = frame[shared].duplicated(keep="first").to_numpy()
        groups = keys[shared].groupby(list(keys.columns), observed=True, sort=False).ngroup()
        distinct = groups[~repeated[shared]]
        contradicted[shared] = groups.isin(distinct[distinct.duplicated()]).to_numpy()
    return {CONTRADICTED: contradicted, REPEATED: repeated}


def _joined(reasons: Sequence[str], matrix: Mask) -> list[str]:
    import numpy as np

    if not len(matrix):
        return []
    patterns, which = np.unique(matrix, axis=0, return_inverse=True)
    texts = [
        REASON_SEPARATOR.join(r for r, hit in zip(reasons, row, strict=True) if hit)
        for row in patterns
    ]
    return [texts[index] for index in which.reshape(-1)]


def _ordered(
    table: pa.Table, days: pa.Array | None, by: Sequence[str]
) -> tuple[pa.Table, pa.Array | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {} if days is None else {_DAY: days}
    sortable = pa.table({**columns, **{name: table[name] for name in by}})
    order = pc.sort_indices(sortable, [(name, "ascending") for name in sortable.column_names])
    sorted_days = None if days is None else days.take(order)
    return table.take(order).combine_chunks(), sorted_days


def _within(days: pa.Array, window: DayWindow) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = pa.scalar(window.first, pa.date32()), pa.scalar(window.last, pa.date32())
    return pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))


def _equal(left: pa.Array, right: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.fill_null(pc.equal(left, right), fill_value=False)
