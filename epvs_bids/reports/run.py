"""What a page says about the run: software, settings, methods paragraph, problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epvs_bids.reports import outputs

_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)]*)\)")
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")

_OWN_HEADING = {"kind": "heading", "text": "Methods"}


def run_view(output_dir: Path, participant: str = "") -> dict[str, Any]:
    """Gather what `run.html` shows.

    Parameters
    ----------
    output_dir
        Derivatives.
    participant
        `sub-…` on a participant's page: settings are those of the latest run of the participant level that
        had it among its labels. Empty on the group's page: those of the latest run of the group level.
    """
    logs = output_dir / "logs"
    methods = methods_blocks(outputs.first_text([logs / "CITATION.md"]))
    return {
        "methods": methods[methods[:1] == [_OWN_HEADING] :],  # the section's heading says so already
        "software": _software(outputs.content(output_dir / "dataset_description.json")),
        "settings": flat(_settings(logs, participant.removeprefix("sub-"))),
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as name and text, in order, with four digits; descriptions of columns are left out."""
    found = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            if "Description" not in value:
                found += flat(value, f"{name} · ")
        elif isinstance(value, list):
            found.append((name, ", ".join(_text(item) for item in value) or "–"))
        else:
            found.append((name, _text(value)))
    return found


def _text(value: object) -> str:
    """Write one value; what is text already stays as it is, as does version 5.10."""
    if value is None:
        return "–"
    return short(str(value)) if isinstance(value, float) else str(value)


def short(text: str) -> str:
    """Round a number to four digits for reading; anything else stays."""
    value = outputs.number(text)
    if value is None or text.lstrip("-").isdigit():
        return text
    return f"{value:.4g}"


def methods_blocks(markdown: str) -> list[dict[str, Any]]:
    """Split a methods text into headings, lists and paragraphs, as plain text without its markup.

    Parameters
    ----------
    markdown
        The small part of Markdown that `logs/CITATION.md` uses: `#` headings, `-` or `1.` lists, emphasis,
        links.

    Returns
    -------
    blocks
        Dictionaries with `kind` (`heading`, `list`, `numbered`, `text`), and `text` or `lines`.
    """
    blocks: list[dict[str, Any]] = []
    for chunk in re.split(r"\n\s*\n|(?<=\n)(?=#)", markdown):
        lines = [line for line in chunk.strip().splitlines() if line.strip()]
        if not lines:
            continue
        if heading := re.match(r"#+\s*(.*)", lines[0]):
            blocks.append({"kind": "heading", "text": _plain(heading.group(1))})
            lines = lines[1:]
        if not lines:
            continue
        if all(re.match(r"\s*(?:[-*+]|\d+\.)\s|\s{2,}\S", line) for line in lines):
            items = re.split(r"(?:^|\n)(?:[-*+]|\d+\.)\s+", "\n".join(lines))
            kind = "numbered" if re.match(r"\s*\d", lines[0]) else "list"
            blocks.append({"kind": kind, "lines": [_plain(item) for item in items if item.strip()]})
        else:
            blocks.append({"kind": "text", "text": _plain(" ".join(line.strip() for line in lines))})
    return blocks


def _plain(text: str) -> str:
    """Take the markup off a piece of Markdown; a link becomes its text and its address."""
    text = _LINK.sub(lambda link: f"{link[1]} ({link[2]})" if link[1] != link[2] else link[1], text)
    return " ".join(_EMPHASIS.sub(r"\2", text).split())


def _software(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and version of everything that made the derivatives."""
    found = []
    for tool in description.get("GeneratedBy", []):
        if isinstance(tool, dict):
            found.append((str(tool.get("Name", "?")), str(tool.get("Version", "?"))))
            found += flat({key: value for key, value in tool.items() if key not in ("Name", "Version")})
    return found


def _settings(logs: Path, label: str) -> Mapping[str, Any]:
    """Read the settings of the latest run of a page's level that worked on its participant."""
    level = "participant" if label else "group"
    for path in sorted(logs.glob("*_settings.json"), key=_time, reverse=True):
        settings = outputs.content(path)
        labels = settings.get("participant_labels")  # none, where all were asked for
        worked = not label or not labels or label in labels
        if settings.get("level") == level and worked and not settings.get("boilerplate_only"):
            return settings
    return {}


def _time(path: Path) -> float:
    """When a file was written; 0 for one that is gone, as files of other jobs may be."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
