"""Imports go one way; pyproject.toml says which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_import_contracts_are_kept():
    """The layers, and the light data plane, as import-linter checks them."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("bgproxy.dataplane.worker", ["aiohttp", "pydantic", "structlog", "prometheus_client"]),
        ("bgproxy.cli", ["aiohttp", "pydantic", "structlog", "rich", "asyncio"]),
        ("bgproxy.cli", ["bgproxy.client", "bgproxy.domain", "bgproxy.config", "http.client"]),
        ("bgproxy.commands.look", ["bgproxy.domain", "bgproxy.config", "bgproxy.commands.change"]),
        ("bgproxy.recruits", ["asyncio", "bgproxy.config", "bgproxy.dataplane", "uvloop"]),
        ("bgproxy.event_log", ["rich", "pygments"]),
        (
            "bgproxy.event_log, bgproxy.supervisor",
            ["aiohttp", "rich", "prometheus_client", "bgproxy.controlplane.server"],
        ),
    ],
)
def test_what_must_start_fast_loads_no_heavy_library(module: str, unwanted: list[str]):
    """What a worker or a short command does not need, importing it does not load."""
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(unwanted) & set(done.stdout.split()) == set()
