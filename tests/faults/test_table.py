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
    marked = {
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if "\n@pytest.mark.fault(" in path.read_text("utf-8")
    }
    text = (ROOT / "tools/make_fault_table.py").read_text(encoding="utf-8")
    assert len(marked) > 5
    assert not [path for path in marked if f'"{path.relative_to(ROOT / "tests")}"' not in text]
    assert page.count("\n## ") == text.count('": (')
