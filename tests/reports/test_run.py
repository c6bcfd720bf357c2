"""The methods paragraph and the settings, as text."""

from __future__ import annotations

import os
from pathlib import Path

from epvs_bids.bids.boilerplate import methods_text
from epvs_bids.reports.run import flat, methods_blocks, run_view


def test_methods_lose_their_markup_and_nothing_else() -> None:
    blocks = methods_blocks(
        "# Methods\n\nRegistered with *elastix* 5.2 ([Klein 2010](https://doi.org/1)),\nmy_file, 2 * 3 * 4.\n"
        "\n"
        "## References\n- One,\n  continued\n- `Two`\n\n1. Three\n"
    )
    assert blocks == [
        {"kind": "heading", "text": "Methods"},
        {
            "kind": "text",
            "text": "Registered with elastix 5.2 (Klein 2010 (https://doi.org/1)), my_file, 2 * 3 * 4.",
        },
        {"kind": "heading", "text": "References"},
        {"kind": "list", "lines": ["One, continued", "Two"]},
        {"kind": "numbered", "lines": ["Three"]},
    ]


def test_the_methods_that_a_run_writes_are_understood() -> None:
    text = methods_text(
        segmentations=["SAMSEG"],
        template="MNI152NLin2009cAsym",
        model="default",
        n_models=5,
        intensity="maximum",
    )
    blocks = methods_blocks(text)
    kinds = [block["kind"] for block in blocks]
    assert {"text", "numbered"} <= set(kinds)
    references = next(block for block in blocks if block["kind"] == "numbered")["lines"]
    assert any("Medical Image Analysis" in line for line in references)
    assert len(references) >= 5


def test_nested_settings_become_lines() -> None:
    values = {"a": 1, "b": {"c": [1, 2], "d": None}, "score": {"Description": "x"}, "e": []}
    assert flat(values) == [("a", "1"), ("b · c", "1, 2"), ("b · d", "–"), ("e", "–")]
    numbers = {
        "dice": 0.8833136592606444,
        "volume": 18.0,
        "count": 123456,
        "version": "5.10",
        "ci": [0.123456, None],
    }
    assert [text for _, text in flat(numbers)] == ["0.8833", "18", "123456", "5.10", "0.1235, –"]


def test_the_heading_of_the_section_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "CITATION.md").write_text("# Methods\n\nDone.\n\n## References\n\n- One\n")
    assert [block.get("text") for block in run_view(tmp_path)["methods"]] == ["Done.", "References", None]


def test_latest_settings_are_shown(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for age, name in ((100, "b_settings.json"), (200, "a_settings.json")):
        (logs / name).write_text(f'{{"level": "group", "from": "{name}"}}')
        os.utime(logs / name, (1e9 - age, 1e9 - age))
    assert run_view(tmp_path)["settings"] == [("level", "group"), ("from", "b_settings.json")]


def test_a_page_shows_no_settings_of_the_other_level(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a_settings.json").write_text('{"level": "participant", "model": "none"}')
    assert run_view(tmp_path)["settings"] == []
    assert dict(run_view(tmp_path, "sub-01")["settings"])["model"] == "none"


def test_an_empty_folder_gives_an_empty_view(tmp_path: Path) -> None:
    assert run_view(tmp_path) == {"methods": [], "software": [], "settings": []}
