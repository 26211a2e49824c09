"""Instructions per request: a count that noise cannot touch, to notice when the relay grows dearer.

Runs `benchmarks.replay` under valgrind's callgrind twice, with few and with more requests; the
difference is the requests' own. The count belongs to one interpreter and one build of the
extensions, so the committed figures name both. `python -m benchmarks.instructions` compares with
the committed figure, ``--commit`` writes it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from bgproxy.protocol.head import SCANNER

FIGURES = Path(__file__).parent / "results" / "instructions.json"
TOLERANCE = 0.05
_FEW, _MORE = 500, 2500
_COUNT = re.compile(r"Collected : (\d+)")


def key() -> str:
    """What a figure belongs to."""
    return f"Python {platform.python_version()} {platform.machine()} scanner {SCANNER}"


def instructions_per_request() -> float:
    """Count; takes half a minute.

    Raises:
        RuntimeError: valgrind is missing or failed.
    """
    return (_count(_MORE) - _count(_FEW)) / (_MORE - _FEW)


def committed() -> float | None:
    """The committed figure for this interpreter, if there is one."""
    figures: dict[str, float] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return figures.get(key())


def _count(requests: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    command += ["-m", "benchmarks.replay", "--runs", "1", "--requests", str(requests)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    except FileNotFoundError as error:
        raise RuntimeError("valgrind is not installed") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(error.stderr[-2000:]) from error
    match = _COUNT.search(run.stderr)
    if match is None:
        raise RuntimeError(f"valgrind printed no count: {run.stderr[-2000:]}")
    return int(match[1])


def main() -> int:
    """Count, and compare or commit; exit status 1 where it grew by more than 5 %."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--commit", action="store_true", help="write the figure anew")
    options = parser.parse_args()
    now, before = instructions_per_request(), committed()
    print(f"{now:,.0f} instructions per request ({key()}), committed: {before or 'none'}")
    if options.commit:
        figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
        figures[key()] = round(now)
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
        return 0
    return int(before is not None and now > before * (1 + TOLERANCE))


if __name__ == "__main__":
    sys.exit(main())
