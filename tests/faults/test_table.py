"""docs/faults.md is what the tests say."""

from __future__ import annotations

import importlib.util

from running import ROOT


def test_the_page_is_current() -> None:
    source = importlib.util.spec_from_file_location("make_fault_table", ROOT / "tools/make_fault_table.py")
    assert source is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    assert (ROOT / "docs/faults.md").read_text(encoding="utf-8") == module.make_page(), (
        "run tools/make_fault_table.py"
    )


def test_every_file_of_faults_has_its_section() -> None:
    page = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    tests = {path.name for path in (ROOT / "tests/faults").glob("test_*.py")} - {"test_table.py"}
    text = (ROOT / "tools/make_fault_table.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in tests)
    assert page.count("\n## ") == len(tests)
