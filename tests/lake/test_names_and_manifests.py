"""What may name a table, a partition or a file, and what a manifest's digest depends on."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.lake import File, LakeError, Manifest, Partition, TablePartition

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
DIGESTS = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
FILES = st.builds(File, name=NAMES, sha256=DIGESTS, size=st.integers(0, 2**40))
MANIFESTS = st.builds(
    Manifest,
    files=st.lists(FILES, unique_by=lambda file: file.name, max_size=4).map(tuple),
    rows=st.none() | st.integers(0, 10**9),
    schema=st.dictionaries(st.text(min_size=1), st.sampled_from(["int64", "string"]), max_size=3),
)
CLIMBING = [
    "..",
    ".",
    "",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    ".hidden",
    "a b",
    "a\n",
    "a\0",
    "ä",
    "a=b",
]


@pytest.mark.parametrize("name", CLIMBING)
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(LakeError, match="cannot name a partition"):
        Partition.of({"day": name})
    with pytest.raises(LakeError, match="cannot name a partition"):
        Partition.of({name: "2013-01-01"})
    with pytest.raises(LakeError, match="cannot name a partition"):
        Partition.from_path(f"day={name}/origin=JFK")
    with pytest.raises(LakeError, match="cannot be a partition's file"):
        File(name, "0" * 64, 1)


@pytest.mark.parametrize(
    "table",
    [*(name for name in CLIMBING if name != "a/b"), "a//b", "a/", "a/../b", "a/_manifest.json"],
)
def test_a_table_that_could_leave_the_repository_is_refused(table: str) -> None:
    with pytest.raises(LakeError, match="cannot name a table"):
        TablePartition(table)


@pytest.mark.parametrize("name", ["_manifest.json"])
def test_a_file_cannot_take_the_manifests_place(name: str) -> None:
    with pytest.raises(LakeError, match="cannot be a partition's file"):
        File(name, "0" * 64, 1)


@pytest.mark.parametrize("digest", ["", "0" * 63, "A" * 64, "/etc/passwd", "0" * 64 + "\n"])
def test_a_digest_that_is_none_is_refused_wherever_it_comes_from(digest: str) -> None:
    with pytest.raises(LakeError, match="64 hexadecimal digits"):
        File("a", digest, 1)
    written = Manifest((File("a", "0" * 64, 1),)).to_json().replace('"' + "0" * 64, f'"{digest}')
    with pytest.raises(LakeError, match=r"^here is no manifest"):
        Manifest.from_json(written, place="here")


@given(st.lists(st.tuples(NAMES, NAMES), min_size=0, max_size=3))
def test_a_partition_is_read_back_from_its_folder(values: list[tuple[str, str]]) -> None:
    partition = Partition(tuple(values))
    assert Partition.from_path(partition.path) == partition
    key = TablePartition("raw/flights", partition)
    assert key.manifest_path == f"{key.folder}_manifest.json"
    assert key.folder.startswith("raw/flights/")


def test_a_folder_of_the_lake_names_its_partition() -> None:
    assert TablePartition.from_folder("raw/planes") == TablePartition("raw/planes")
    assert TablePartition.from_folder("a/b/month=2013-12/origin=JFK") == TablePartition(
        "a/b", Partition.of({"month": "2013-12", "origin": "JFK"})
    )


@given(MANIFESTS)
def test_a_manifest_is_read_back_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json(), place="here") == manifest


@given(MANIFESTS, st.randoms())
def test_the_order_in_which_files_are_listed_changes_nothing(manifest, random) -> None:
    shuffled = list(manifest.files)
    random.shuffle(shuffled)
    again = dataclasses.replace(manifest, files=tuple(shuffled))
    assert again.to_json() == manifest.to_json()
    assert again.data_version == manifest.data_version


@given(MANIFESTS, MANIFESTS)
def test_a_data_version_names_the_files_and_their_content(left: Manifest, right: Manifest) -> None:
    same = [(f.name, f.sha256) for f in left.files] == [(f.name, f.sha256) for f in right.files]
    assert (left.data_version == right.data_version) is same


@given(MANIFESTS.filter(lambda manifest: manifest.files), NAMES, DIGESTS)
def test_another_name_or_another_byte_is_another_data_version(manifest, name, digest) -> None:
    first, *others = manifest.files
    for changed in (
        dataclasses.replace(first, name=f"{first.name}{name}"),
        dataclasses.replace(first, sha256=f"{int(first.sha256, 16) ^ 1:064x}"),
    ):
        other = dataclasses.replace(manifest, files=(changed, *others))
        assert other.data_version != manifest.data_version
