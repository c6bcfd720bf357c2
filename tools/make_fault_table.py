#!/usr/bin/env python3
"""Make docs/faults.md from the `fault` marks of the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs/faults.md"
SECTIONS = {
    "The command line and the data set": ("faults/test_inputs.py",),
    "Scans and segmentations": ("faults/test_damaged_scans.py", "faults/test_segmentations.py"),
    "Odd scans, labels and choices": ("faults/test_variety.py",),
    "Machine and cluster": (
        "faults/test_machine.py",
        "faults/test_gpu.py",
        "faults/test_streams.py",
        "container/test_slurm.py",
    ),
    "Tables and the group level": ("faults/test_tables.py",),
    "Training": ("network/test_training.py",),
    "Security and privacy": ("faults/test_security.py", "reports/rating/test_server.py"),
    "Random damage": ("faults/test_fuzz.py",),
}
"""Which files below tests/ each section is made of."""

SHARED = ROOT / "tests/faults/running.py"
"""Where the texts stand that several of the files use."""

COLUMNS = "| fault | the user sees | code | what is kept | test |\n| --- | --- | --- | --- | --- |\n"
HEAD = """\
# What goes wrong, and what happens then

Made from the tests by `tools/make_fault_table.py`; each row is a test that makes the fault happen and checks
exit code, words and what is left. A failed participant never stops the others: the run ends with a table of
who failed and why, and with a code other than 0. Tests in *italics* take minutes: `make test-slow`.
"""


def marks(path: Path) -> Iterator[tuple[str, dict[str, object], bool]]:
    """Yield the test's name, its mark's values and whether it is slow, in order."""
    constants = _constants(SHARED) | _constants(path)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        decorators = {ast.unparse(getattr(one, "func", one)): one for one in node.decorator_list}
        mark = decorators.get("pytest.mark.fault")
        if isinstance(mark, ast.Call):
            values = {"what": _value(mark.args[0], constants)}
            values |= {str(word.arg): _value(word.value, constants) for word in mark.keywords}
            yield node.name, values, "pytest.mark.slow" in decorators


def _constants(path: Path) -> dict[str, object]:
    return {
        node.targets[0].id: node.value.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }


def _value(node: ast.expr, constants: dict[str, object]) -> object:
    return constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)


def make_page() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"\n## {title}\n\n{COLUMNS}")
        for test, values, slow in (one for name in names for one in marks(ROOT / "tests" / name)):
            says = f"“{values['says']}”" if values["says"] else "nothing: it is dealt with"
            shown = f"*`{test}`*" if slow else f"`{test}`"
            cells = [values["what"], says, values["code"], values["keeps"], shown]
            parts.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(make_page(), encoding="utf-8")
    print(f"Wrote {TARGET.relative_to(ROOT)}")
