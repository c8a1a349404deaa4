"""When a partition has too many bad rows to be published, and the sentence that says so.

Pure decisions about counts: no table, no file and no engine is touched here. How rows come to be
quarantined is `contract.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

REASON_SEPARATOR = "; "
"""What stands between the reasons of one row; no single reason contains it."""


@dataclass(frozen=True)
class PartitionCount:
    """How many rows of one partition were accepted and quarantined, and how often each reason.

    `day` is None for a table without partitions. A row with two reasons counts for both.
    """

    day: date | None
    accepted: int
    quarantined: int
    reasons: Mapping[str, int]

    @property
    def share(self) -> float:
        """The quarantined share of the partition's rows, 0 to 1; 0 for an empty partition."""
        rows = self.accepted + self.quarantined
        return self.quarantined / rows if rows else 0.0


@dataclass(frozen=True)
class Verdict:
    """Whether a table's partitions may be published, and the sentence that says so or why not.

    `counts` holds every partition, `exceeded` those with more bad rows than allowed.
    """

    counts: tuple[PartitionCount, ...]
    exceeded: tuple[PartitionCount, ...]
    sentence: str

    @property
    def passed(self) -> bool:
        """No partition has more bad rows than allowed."""
        return not self.exceeded


def verdict(table: str, max_share: float, counts: Sequence[PartitionCount]) -> Verdict:
    """Judge each partition by the share of its rows that was quarantined.

    Args:
        table: the table's name, for the sentence.
        max_share: the largest share, 0 to 1, with which a partition still passes.
        counts: one count for each partition.
    """
    exceeded = tuple(count for count in counts if count.share > max_share)
    if exceeded:
        listed = ", ".join(_bad_rows(count) for count in exceeded[:3])
        if len(exceeded) > 3:
            listed += f" and {len(exceeded) - 3} more days"
        sentence = (
            f"{table}: more than {max_share:.2%} of the rows break the contract: {listed}. Most "
            f"frequent: {_most_frequent(exceeded)}. Correct the source, or the contract if it is "
            "the rule that is wrong."
        )
        return Verdict(tuple(counts), exceeded, sentence)
    bad = sum(count.quarantined for count in counts)
    rows = bad + sum(count.accepted for count in counts)
    why = f": {_most_frequent(counts)}" if bad else ""
    return Verdict(tuple(counts), (), f"{table}: {bad} of {rows} rows are quarantined{why}.")


def reason_counts(reasons: Iterable[str]) -> Mapping[str, int]:
    """How often each single reason occurs among rows that may have several."""
    return Counter(single for reason in reasons for single in reason.split(REASON_SEPARATOR))


def _most_frequent(counts: Sequence[PartitionCount]) -> str:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count.reasons)
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} ({times} times)" for reason, times in ranked[:3])


def _bad_rows(count: PartitionCount) -> str:
    where = "" if count.day is None else f" of {count.day}"
    return f"{count.quarantined} of {count.accepted + count.quarantined} rows{where}"
