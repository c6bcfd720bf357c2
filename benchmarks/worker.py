"""A process that does one thing when told to: `python -m benchmarks.worker MODULE:FACTORY JSON`.

The factory gets the JSON's values as keyword arguments and returns a function of no arguments, which is
what is timed; what that returns (a number, or a mapping of numbers) is passed on. Each line `run` on
standard input is answered by one JSON object on standard output; any other line ends it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any, TextIO


def peak_memory() -> int:
    """Return the most memory that this process and any one of its children has held so far, in bytes.

    What `getrusage` tells of oneself begins with what the process had that started this one.
    """
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (no import for a measurement)
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def current_memory() -> int:
    """Return the memory that this process holds now, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as status:  # noqa: PTH123 (no import for a measurement)
        return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serve(factory: str, arguments: dict[str, Any], answers: TextIO) -> None:
    """Set up, then answer each line of standard input."""
    module, _, name = factory.partition(":")
    work = getattr(importlib.import_module(module), name)(**arguments)
    _answer(answers, {"before": current_memory()})
    for line in sys.stdin:
        if line.strip() != "run":
            break
        wall, processor = time.perf_counter(), time.process_time()
        value = work()
        facts = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        _answer(answers, {**facts, "value": value, "peak": peak_memory()})


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    # Libraries print where they like: answers go to the real standard output, everything else to the error's.
    real = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.argv[1], json.loads(sys.argv[2]), real)
