"""Programs that check what is shipped; a test that needs one is skipped where it is not at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "config"


def find(program: str) -> str:
    """Where a program is: beside this Python, or on PATH."""
    path = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(program: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and give back what it said, whatever its exit status."""
    return subprocess.run(
        [find(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **{"timeout": 50, **options},
    )


def expect_success(program: str, *arguments: str | Path, **options: Any) -> str:
    """Run a program that must find nothing to complain about; returns its standard output."""
    done = run(program, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
