"""The folder of results: a file for each measurement, which `benchmarks.report` shows elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

FOLDER = Path(__file__).with_name("results")


def save(name: str, found: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write what a measurement found, with what it ran on, to `NAME.json`."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n")
    print(f"written to {file}; python -m benchmarks.report shows it everywhere else")


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What `save` has written."""
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found
