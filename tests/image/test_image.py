"""The container image, built and run in one piece by `tests/image/check`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).with_name("check")
NEEDED = ("buildah", "mmdebstrap")

_missing = [program for program in NEEDED if shutil.which(program) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="an image is built by root"),
    pytest.mark.skipif(bool(_missing), reason=f"not installed: {', '.join(_missing)}"),
]


def test_the_image_is_built_and_serves() -> None:
    """Read-only and as its own user: requests, its healthcheck, a switch, an orderly end."""
    done = subprocess.run([CHECK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" passed\n")
