"""What tells two records of making one partition apart is named, and nothing else."""

from __future__ import annotations

from mlops_assets.components.provenance import SOURCE, Provenance, differences
from mlops_assets.lake import Partition

FIRST, SECOND = f"{SOURCE}flights/2013-01-01.csv", f"{SOURCE}flights/2013-01-02.csv"


def test_files_that_were_read_for_other_days_tell_nothing() -> None:
    both = Provenance.of({FIRST: "sha256:a", SECOND: "sha256:b"})
    alone = Provenance.of({FIRST: "sha256:c"})
    told = differences(both, alone, Partition.of({"day": "2013-01-01"}))
    assert told == ["the source flights/2013-01-01.csv was sha256:a and is sha256:c"]


def test_a_file_that_took_the_place_of_another_is_named() -> None:
    plain = Provenance.of({FIRST: "sha256:a"})
    packed = Provenance.of({f"{FIRST}.zip": "sha256:b"})
    told = differences(plain, packed, Partition.of({"day": "2013-01-01"}))
    assert told == ["the source flights/2013-01-01.csv.zip was absent and is sha256:b"]
