"""Benchmarks: what the product costs, measured side by side with the thing it is compared to.

Belongs here: one module for each benchmark, the processes that they start, and the harness that
turns figures into lines of `bench/results.jsonl` and one table. A benchmark measures and never
asserts, so that a busy machine gives a bad figure and not a failure. Does not belong here: whether
what is measured is right; `tests/` says that.
"""
