"""What the server imports once, for all processes that are forked from it."""

import gc
from collections.abc import Callable
from importlib import import_module

MODULES = (
    "epvs_bids.settings",
    "epvs_bids.workflows.plugin",
    "epvs_bids.anatomy.elastix",
    "epvs_bids.interfaces.derivatives",
    "epvs_bids.interfaces.report",
    "epvs_bids.interfaces.scan",
    "epvs_bids.interfaces.score",
    "epvs_bids.network.inference",
    "epvs_bids.network.memory",
    "epvs_bids.reports.pages",
)
"""What steps work with, and what a process needs before its step begins."""

gc.disable()  # nothing that is imported is garbage; to look for it takes a sixth of the time
for name in MODULES:
    import_module(name)
reuse_large_blocks: Callable[[], None] = import_module("epvs_bids.network.memory").reuse_large_blocks
reuse_large_blocks()  # scans come and go as blocks of hundreds of megabytes, in every step
gc.freeze()  # nor need any process look through it again
gc.enable()
