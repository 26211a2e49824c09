"""The time from `bgproxy run` to the first answer through it, and that of the imports.

With byte code that is kept, as every installation has it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.peer_files import bgproxy
from benchmarks.processes import PROXY_CORE, Server, pinned
from benchmarks.requests import curl
from benchmarks.stage import Stage, on_stage
from benchmarks.tables import shown, table

MODULES = ("bgproxy.supervisor", "bgproxy.dataplane.worker", "bgproxy.cli")
PATIENCE = 20.0
"""Seconds within which an answer must come."""

_BYTE_CODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

COSTLIEST = 12
"""Modules that `--explain` names."""


@contextlib.contextmanager
def compiled(folder: Path) -> Iterator[None]:
    """Have byte code kept, as every installation has it, whatever is set for this machine."""
    former = {name: os.environ.pop(name, None) for name in _BYTE_CODE}
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "byte-code")
    try:
        yield
    finally:
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def first_answer(stage: Stage, name: str, cores: int | str) -> float:
    """Seconds from the start of the process until a request is answered by the backend.

    Raises:
        RuntimeError: when that does not happen.
    """
    site = stage.site(name)
    command = bgproxy(site)
    began = time.monotonic()
    server = Server(command, cores, log=site.folder / "output")
    try:
        while time.monotonic() < began + PATIENCE:
            if _answers(site.port):
                return time.monotonic() - began
            time.sleep(0.002)
    finally:
        server.stop()
    raise RuntimeError((site.folder / "output").read_text())


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
        one.sendall(curl("/small")[0])
        return one.recv(4096).startswith(b"HTTP/1.1 200 ")
    return False


def import_time(module: str, rounds: int) -> float:
    """Seconds for a process that imports a module, less those of one that imports nothing."""
    return _run_time(f"import {module}", rounds) - _run_time("pass", rounds)


def _run_time(program: str, rounds: int) -> float:
    def once() -> float:
        began = time.monotonic()
        subprocess.run(pinned([sys.executable, "-c", program], PROXY_CORE), check=True)
        return time.monotonic() - began

    return statistics.median(once() for _ in range(rounds))


def costliest(module: str) -> list[tuple[float, str]]:
    """What is imported, each with its own milliseconds, the dearest first."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr)
    return sorted(((int(own) / 1e3, name) for own, name in found), reverse=True)


def show(found: Mapping[str, Any]) -> str:
    """A table of medians."""
    rows = {
        "`bgproxy run` to the first answer": [shown(found["first_answer_ms"])],
        "the same on one core": [shown(found["first_answer_one_core_ms"])],
    }
    for module, took in found["import_ms"].items():
        rows[f"import of `{module}`"] = [shown(took)]
    return table(["ms"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description="Time to the first answer."
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--explain", action="store_true", help="name the dearest imports, no more")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder")
    options = parser.parse_args(arguments)
    if options.explain:
        for module in MODULES:
            print(module)
            for own, name in costliest(module)[:COSTLIEST]:
                print(f"{own:8.1f} ms  {name}")
        return 0
    with on_stage() as stage, compiled(stage.folder):
        first_answer(stage, "unmeasured", "0,1")  # compiles
        everywhere, pinned_ones = (
            [first_answer(stage, f"{cores}-{number}", cores) for number in range(options.rounds)]
            for cores in ("0,1", PROXY_CORE)
        )
        document = {
            "rounds": options.rounds,
            "first_answer_ms": statistics.median(everywhere) * 1e3,
            "first_answer_one_core_ms": statistics.median(pinned_ones) * 1e3,
            "import_ms": {module: import_time(module, options.rounds) * 1e3 for module in MODULES},
        }
    print(show(document))
    results.save("startup", document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
