"""The relay must not grow dearer unnoticed: instructions per request beside a committed figure."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import instructions


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_request_takes_at_most_five_percent_more_instructions_than_committed() -> None:
    """Where it fails for a good reason: `python -m benchmarks.instructions --commit`."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    before = instructions.committed()
    if before is None:
        pytest.skip(f"no figure is committed for {instructions.key()}")
    assert instructions.instructions_per_request() <= before * (1 + instructions.TOLERANCE)
