"""Scans to rate, and a server on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epvs_bids.reports.rating.cli import build_store
from epvs_bids.reports.rating.server import RatingServer

from .phantom import write_scan


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Three scans of two people."""
    folder = tmp_path / "out"
    write_scan(folder, "01", seed=1)
    write_scan(folder, "02", "1", seed=2)
    write_scan(folder, "02", "2", suffix="T2w", seed=3)
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., RatingServer]]:
    """Start servers that end with the test."""
    servers: list[RatingServer] = []

    def start(output: Path, *, repeats: float = 0.0, bids_dir: Path | None = None) -> RatingServer:
        server = RatingServer(build_store(output, bids_dir=bids_dir, seed=0, repeats=repeats))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.store.close()
        server.server_close()
