import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

LoadTool = Callable[[str], ModuleType]


def test_the_defaults_make_the_page_in_docs(load_tool: LoadTool) -> None:
    options = load_tool("make_evidence").parse([])
    page = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert f"{options.regions} regions of one scanner" in page
    tests = re.search(r"agreement with rater A in (\d+) test scans", page)
    known = re.search(r"trained on the same (\d+) scans", page)
    assert tests is not None
    assert known is not None
    assert options.with_baselines == int(tests[1]) + int(known[1])


def test_what_is_kept_is_named_after_what_it_depends_on(tmp_path: Path, load_tool: LoadTool) -> None:
    key_of = load_tool("make_evidence").key_of
    source = tmp_path / "source.py"
    source.write_text("a = 1")
    key = key_of([source, tmp_path], 1)
    assert key == key_of([tmp_path, source], 1)
    assert key != key_of([source], 2)
    source.write_text("a = 2")
    assert key != key_of([source], 1)


def test_a_score_that_was_not_written_whole_is_not_kept(
    tmp_path: Path, load_tool: LoadTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = load_tool("make_evidence")

    class Result:
        score = 3.0

    monkeypatch.setattr(tool, "score", lambda *_, **__: Result())
    region = {"roi": np.zeros((2, 2, 2)), "mask": np.zeros((2, 2, 2)), "marked": np.empty((0, 3))}

    def interrupted(path: Path, values: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tool._scores(tmp_path, 0, region, [], "key")
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(tool._scores(tmp_path, 0, region, [], "key"), [3.0])
