"""Configuration files for tests: written to a temporary place, loaded, and their faults told."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bgproxy.config.load import load_config
from bgproxy.config.settings import Settings
from bgproxy.errors import ConfigError, Fault

ENVIRONMENTS = """\
    environments:
      blue: {backends: ["http://127.0.0.1:9001"]}
      green: {backends: ["http://127.0.0.1:9002"]}
"""

SERVICE = f"services:\n  default:\n{ENVIRONMENTS}"
"""A smallest file: five lines, to which others can be added at the top or as keys of `default`."""


def load(text: str | bytes, **env: str) -> Settings:
    """The settings of a file with this text, in an environment of just these variables."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bgproxy.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, env)


def faults(text: str | bytes, **env: str) -> list[Fault]:
    """What is wrong with a file with this text; at least something must be."""
    with pytest.raises(ConfigError) as error:
        load(text, **env)
    assert error.value.faults
    return list(error.value.faults)


def fault(text: str | bytes, **env: str) -> Fault:
    """The only thing that is wrong with it."""
    (only,) = faults(text, **env)
    return only


def place(found: Fault) -> tuple[str, int, int]:
    """Where a fault stands: the key's path, line and column."""
    return found.path, found.line, found.column
