"""Ours, what a user would take instead, and what the machine can do, measured side by side.

`python -m benchmarks [ROW …]` measures and writes `benchmarks/RESULTS.md`; `make bench` sets all up first.
Each thing that is timed runs in a process of its own (`benchmarks.worker`), in turn with what it is compared
with, so that both see the same machine. Nothing here is asserted in tests.
"""
