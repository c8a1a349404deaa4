"""`python -m bench [NAME…] [--rounds N]`: run benchmarks, one after the other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.bookkeeping import BOOKKEEPING
from bench.figures import Benchmark, Figure, append, machine_facts, table
from bench.increment import INCREMENT
from bench.lake_bytes import BYTES
from bench.lake_scale import SCALE
from bench.load import LOADING
from bench.monitoring import MONITORING
from bench.problem import PROBLEM
from bench.processes import ROOT
from bench.queue import QUEUE
from bench.ticks import TICKS
from bench.upload import UPLOAD
from bench.year import YEAR

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        UPLOAD,
        SCALE,
        BYTES,
        LOADING,
        YEAR,
        INCREMENT,
        PROBLEM,
        BOOKKEEPING,
        QUEUE,
        MONITORING,
        TICKS,
    )
}
RESULTS = ROOT / "bench" / "results.jsonl"


def main() -> None:
    """Run the benchmarks of the command line, all of them if it names none."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=_count, help="rounds of each, in place of its own number")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}: use {', '.join(BENCHMARKS)}")
    chosen = [BENCHMARKS[name] for name in options.names or BENCHMARKS]
    print(f"\n{table(run(chosen, options.rounds, RESULTS))}\n")
    print(f"Each figure is a line of {RESULTS.relative_to(ROOT)}.")


def run(benchmarks: Sequence[Benchmark], rounds: int | None, results: Path) -> list[Figure]:
    """Run benchmarks one after the other.

    Args:
        benchmarks: Which, in order.
        rounds: How many rounds of each; its own number if None.
        results: The file that gets a JSON line for each figure.

    Returns:
        The figures, in the order in which they were measured.
    """
    figures: list[Figure] = []
    for benchmark in benchmarks:
        print(f"{benchmark.name}: {benchmark.question}", flush=True)
        measured = list(benchmark.measure(rounds or benchmark.rounds))
        # At once, so that a failing benchmark does not take the figures of those before it along.
        append(measured, machine_facts(ROOT), results)
        figures += measured
    return figures


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


if __name__ == "__main__":
    main()
