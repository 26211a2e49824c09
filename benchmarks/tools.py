"""The two programs in C that the measurements stand on, compiled when they are needed.

In C, because they share a core: every microsecond that the load and the backend take is one that a
proxy has to wait for, and would be counted to it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).with_name("native")
COMPILER = "cc"


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the compiled programs.

    Args:
        backend: `native/light_backend.c`.
        load: `native/steady_load.c`.
    """

    backend: str
    load: str


def build(folder: Path) -> Tools:
    """Compile both into a folder; takes half a second.

    Raises:
        RuntimeError: with what the compiler said.
    """
    return Tools(_compiled("light_backend", folder), _compiled("steady_load", folder))


def _compiled(name: str, folder: Path) -> str:
    program = folder / name
    command = [COMPILER, "-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCES / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}.c does not compile: {done.stderr}")
    return str(program)
