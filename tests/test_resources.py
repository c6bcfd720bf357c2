"""A container's limits count as what the machine has."""

from pathlib import Path

import pytest

from epvs_bids import resources


def test_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    cores, memory = resources.available_cores(), resources.available_memory_gb()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (resources.available_cores(), resources.available_memory_gb()) == (cores, memory)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**28}\n")
    assert (resources.available_cores(), resources.available_memory_gb()) == (1, 0.25)
