#!/usr/bin/env python3
"""Write the Boutiques descriptor from the command line's own parser, so that the two can't differ."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from epvs_bids import __version__, arguments

TARGET = Path(__file__).resolve().parent.parent / "epvs_bids/data/boutiques/epvs-bids.json"
IMAGE = {"type": "docker", "image": f"epvs-bids:{__version__}", "entrypoint": True}
CODES = {
    1: "Failure that no other code describes, or failures of several kinds",
    16: "The input is no valid BIDS data set",
    17: "Unknown analysis level",
    18: "Labels and filters select nothing",
    64: "The command line is wrong",
    65: "A file's content can't be used",
    66: "An input, program or licence is missing",
    73: "An output can't be created",
    74: "Reading or writing failed",
    75: "Try again later",
}
WHOLE, REAL = {"integer": True}, {"integer": False}
NUMBERS: dict[object, dict[str, Any]] = {
    int: WHOLE,
    arguments._positive: WHOLE | {"minimum": 1},
    arguments._natural: WHOLE | {"minimum": 0},
    arguments._years: REAL,
    arguments._fraction: REAL | {"minimum": 0},
}
INPUT_PATHS = {
    "bids_dir",
    "bids_filter_file",
    "configurations",
    "derivatives",
    "fs_license_file",
    "fs_subjects_dir",
    "plugin_file",
    "ratings",
}


def describe_input(action: argparse.Action) -> dict[str, Any]:
    """Describe one argument as a Boutiques input."""
    name = max(action.option_strings, key=len, default=action.dest).lstrip("-").replace("-", "_")
    text = (action.help or name.replace("_", " ")).replace("%%", "%")
    entry: dict[str, Any] = {"id": name, "name": name.replace("_", " "), "description": text}
    entry["value-key"] = f"[{name.upper()}]"
    if action.option_strings:
        long = [option for option in action.option_strings if option.startswith("--")]
        entry |= {"optional": True, "command-line-flag": (long or action.option_strings)[0]}
    if action.nargs == 0:
        return entry | {"type": "Flag"}
    if action.type in NUMBERS:
        entry |= {"type": "Number"} | NUMBERS[action.type]
    else:
        entry["type"] = "File" if action.dest in INPUT_PATHS else "String"
    if action.choices:
        entry["value-choices"] = list(action.choices)
    if action.nargs == "+":
        entry["list"] = True
    return entry


def make_descriptor() -> dict[str, Any]:
    """Return the descriptor as JSON values."""
    actions = [
        action
        for action in arguments._build_parser()._actions
        if not isinstance(action, argparse._HelpAction | argparse._VersionAction)
    ]
    inputs = [describe_input(action) for action in actions]
    for entry in inputs:
        if entry["id"] == "analysis_level":
            entry["value-choices"] = ["participant", "group"]
    return {
        "name": "EPVS BIDS App",
        "description": "Counts enlarged perivascular spaces (EPVS) in the basal ganglia on PD and T2 scans.",
        "tool-version": __version__,
        "schema-version": "0.5",
        "author": "The EPVS BIDS App developers",
        "command-line": "/run.py " + " ".join(entry["value-key"] for entry in inputs),
        "container-image": IMAGE,
        "inputs": inputs,
        "output-files": [
            {
                "id": "output",
                "name": "Output folder",
                "description": "Scores, regions, pages and tables",
                "path-template": "[OUTPUT_DIR]",
            }
        ],
        "error-codes": [{"code": code, "description": text} for code, text in CODES.items()],
        "tags": {"domain": ["neuroinformatics", "bids-app"]},
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(make_descriptor(), indent=2) + "\n", encoding="utf-8")
    print(f"Wrote {TARGET.relative_to(Path.cwd())}")
