"""What is fast and what is not: ours beside what a user would take instead, and beside what the machine can do.

`python -m benchmarks [ROW …]` measures and writes `benchmarks/RESULTS.md`; `make bench` sets everything up first.
Each thing that is timed runs in a process of its own (`benchmarks.worker`), in turn with what it is compared
with, so that both see the same machine. Nothing here is asserted in tests.
"""
