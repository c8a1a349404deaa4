"""What a repository's size does to the cost of a branch, a commit and a merge.

The repositories are filled below the API, with the server's own functions: the tree of all objects
is built at once and becomes one commit, which the API would take an hour for. The objects lack
their bytes, which none of these calls reads. All that is measured goes through the official client
to a running server, the small and the large repository in turn, each in a store of its own.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.figures import Benchmark, Figure

if TYPE_CHECKING:
    from lakefs import Repository

    from mlops_assets.lakefs_server.tree import Entry

SMALL, LARGE = 1_000, 1_000_000
CHANGED = 10
WARM_UP = 5
STEPS = (
    "create a branch",
    f"commit {CHANGED} objects, five partitions",
    "merge them",
    "merge them where the base has moved on",
)


def paths(objects: int) -> list[str]:
    """Paths as tables have them: two objects a partition, in a hundred tables."""
    partitions = objects // 2
    tables = min(100, max(1, partitions // 5))
    folders = [
        f"features/table_{at % tables:02d}/day={at // tables:06d}" for at in range(partitions)
    ]
    return [f"{folder}/{name}" for folder in folders for name in ("_manifest.json", "data.parquet")]


def fill(state_dir: Path, repository: str, objects: int) -> None:
    """Give a repository's main branch so many objects, in one commit."""
    from mlops_assets.lakefs_server import history, tree
    from mlops_assets.lakefs_server.store import Store, add_commit

    store = Store(state_dir)
    found = store.repository(repository)
    main = store.branch(found, "main")
    entries: dict[str, Entry | None] = {path: _entry(path) for path in paths(objects)}
    written = tree.change(tree.EMPTY, entries, store.node)
    said = history.Message("filled", "bench", {}, time.time_ns())
    commit = history.make(written.root, [store.commit(found, main.head)], said)
    with store.database.writing() as connection:
        store.add_nodes(connection, written.nodes)
        add_commit(connection, found.id, commit)
        store.move_head(connection, main, commit.id)
    store.database.close()


def _entry(path: str) -> Entry:
    from mlops_assets.lakefs_server import tree

    name = tree.fingerprint(path.encode())
    # A manifest rides in its object's metadata.
    said = {"manifest": f'{{"format":1,"files":[["data.parquet","{name}",50000]],"rows":900}}'}
    is_manifest = path.endswith("_manifest.json")
    return tree.Entry(
        name, 50_000, name[:32], 1_700_000_000, "text/plain", said if is_manifest else {}
    )


def _round(repository: Repository, objects: list[str], number: int) -> list[float]:
    """Seconds of each step of a change to partitions that lie anywhere."""
    draw = random.Random(number)
    taken: list[float] = []

    def timed(call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)

    first, second = (repository.branch(f"work-{number}-{which}") for which in "ab")
    second.create("main")
    timed(lambda: first.create("main"))
    for branch in (first, second):
        # A step changes partitions: a manifest and the data beside it.
        for place in draw.sample(range(0, len(objects), 2), CHANGED // 2):
            for path in objects[place : place + 2]:
                branch.object(path).upload(f"{number} {path}".encode(), pre_sign=False)
    timed(lambda: first.commit(f"change {number}"))
    timed(lambda: first.merge_into("main"))
    second.commit(f"another change {number}")
    timed(lambda: second.merge_into("main", strategy="source-wins"))
    for branch in (first, second):
        branch.delete()
    return taken


def _measure(rounds: int) -> Iterator[Figure]:
    import lakefs

    from mlops_assets.lakefs_server import EmbeddedServer

    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        repositories: dict[int, Repository] = {}
        objects = {size: paths(size) for size in (SMALL, LARGE)}
        for size in objects:
            state_dir = Path(folder) / str(size)
            found = servers.enter_context(EmbeddedServer(state_dir))
            client = lakefs.Client(
                host=found.url, username=found.access_key_id, password=found.secret_access_key
            )
            repositories[size] = lakefs.Repository("bench", client).create("local://bench")
            fill(state_dir, "bench", size)
        taken: dict[int, list[list[float]]] = {size: [] for size in objects}
        for number in range(WARM_UP + rounds):
            for size, repository in repositories.items():
                taken[size].append(_round(repository, objects[size], number))
    for step, name in enumerate(STEPS):
        small, large = (
            median(times[step] for times in taken[size][WARM_UP:]) * 1000 for size in (SMALL, LARGE)
        )
        figure = f"{name}, at {LARGE:,} objects against {SMALL:,}"
        yield Figure(SCALE.name, figure, large, "ms", baseline=small, target=1.5)


SCALE = Benchmark(
    name="lake",
    question="Does a branch, a commit or a merge cost more in a large repository?",
    rounds=200,
    measure=_measure,
)
