"""The one door: which reader stands behind it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bgproxy.protocol import head

_SHOW = "from bgproxy.protocol import head; print(head.SCANNER, head.read_request_head.__module__)"


def shown(**environment: str) -> list[str]:
    """What a fresh process says of its reader."""
    done = subprocess.run(
        [sys.executable, "-c", _SHOW],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_reference_can_be_forced() -> None:
    """For comparison, and for whoever trusts no compiled code."""
    assert shown(BGPROXY_SCANNER="python") == ["python", "bgproxy.protocol.request"]


def test_scanner_is_used_where_it_was_built() -> None:
    """Without being asked for."""
    pytest.importorskip("bgproxy.protocol._scan")
    assert shown(BGPROXY_SCANNER="")[0] == "compiled"


def test_reference_stands_in_where_no_scanner_was_built() -> None:
    """An install without a compiler works the same, only slower."""
    hide = "import importlib.machinery as m; m.EXTENSION_SUFFIXES[:] = []; "
    done = subprocess.run(
        [sys.executable, "-c", hide + _SHOW],
        env={**os.environ, "BGPROXY_SCANNER": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["python", "bgproxy.protocol.request"]


def test_this_run_says_which_reader_it_tests() -> None:
    """The name is what `check`, the start-up line and a metric show."""
    assert head.SCANNER in ("compiled", "python")
