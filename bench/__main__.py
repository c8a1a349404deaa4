"""`python -m bench [NAME…] [--rounds N]`: run benchmarks, one after the other."""

from __future__ import annotations

import argparse

from bench.bookkeeping import BOOKKEEPING
from bench.figures import Benchmark, append, machine_facts, table
from bench.increment import INCREMENT
from bench.load import LOADING
from bench.processes import ROOT
from bench.upload import UPLOAD
from bench.year import YEAR

BENCHMARKS = {
    benchmark.name: benchmark for benchmark in (UPLOAD, LOADING, YEAR, INCREMENT, BOOKKEEPING)
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
    figures = []
    for name in options.names or BENCHMARKS:
        benchmark: Benchmark = BENCHMARKS[name]
        print(f"{name}: {benchmark.question}", flush=True)
        measured = list(benchmark.measure(options.rounds or benchmark.rounds))
        # At once, so that an hour's figures are not lost to the benchmark after them.
        append(measured, machine_facts(ROOT), RESULTS)
        figures += measured
    print(f"\n{table(figures)}\n\nEach figure is a line of {RESULTS.relative_to(ROOT)}.")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


if __name__ == "__main__":
    main()
