"""Reads the command blocks of a page and plays them as a reader would.

Fences of `sh` and `console` are commands; everything that is not meant to be run has another word
behind its fence (`text`, mostly). In `console` the lines behind `$ ` are the commands. A block
whose first line is ``# in a terminal of its own`` goes on running; one of YAML whose first line is
a file's name in a comment is saved under that name.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

BACKGROUND = "# in a terminal of its own"
WORDS = frozenset({"sh", "console", "yaml", "text", "promql", "python", "ini", "json", "nginx"})
"""Words behind a fence; any other is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page.

    Args:
        heading: the last one of the second level before it.
        line: where it stands.
        word: what the fence says it is.
        text: what is in it.
    """

    heading: str
    line: int
    word: str
    text: str

    @property
    def commands(self) -> str:
        """What is to be run; empty where nothing is."""
        if self.word == "console":
            found = (line[2:] for line in self.text.splitlines() if line.startswith("$ "))
            return "\n".join(found)
        return self.text if self.word == "sh" else ""

    @property
    def file(self) -> str:
        """The name under which it is saved; empty where it is not."""
        found = re.match(r"# (\w+\.yaml)\n", self.text)
        return found[1] if self.word == "yaml" and found else ""


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    found: list[Block] = []
    heading, word, began, lines = "", "", 0, list[str]()
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            if began:
                found.append(Block(heading, began, word, "\n".join(lines) + "\n"))
                began = 0
            else:
                word, began, lines = line[3:].strip(), number, []
        elif began:
            lines.append(line)
        elif line.startswith("## "):
            heading = line[3:]
    return found


class Shell:
    """A reader at a terminal: runs blocks in one folder, with other ports than the page's.

    Args:
        folder: empty, and the reader's alone.
        replaced: what stands in the page, and what is to stand there here.
        environment: variables beside the usual ones.
    """

    def __init__(
        self, folder: Path, replaced: Mapping[str, str], environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._replaced = replaced
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "NO_COLOR": "1", **environment}
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in reversed(self._background):
            # The whole group: a loop's sleep would outlive its shell.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)

    def play(self, block: Block) -> str:
        """Run or save one block; what it printed.

        Raises:
            AssertionError: when a command fails, with what it said.
        """
        if block.file:
            (self._folder / block.file).write_text(self._adapt(block.text))
        commands = self._adapt(block.commands)
        if not commands:
            return ""
        if commands.startswith(BACKGROUND):
            self._start(commands)
            return ""
        bash = ["bash", "-euo", "pipefail", "-c", commands]
        done = subprocess.run(bash, check=False, timeout=50, text=True, **self._how())
        output = str(done.stdout)
        assert done.returncode == 0, f"line {block.line}: {commands}\n{output}"
        return output

    def _start(self, commands: str) -> None:
        how = self._how() | {"stdout": subprocess.DEVNULL}  # nobody would read a pipe
        process = subprocess.Popen(["bash", "-c", commands], process_group=0, **how)
        self._background.append(process)
        awaited = [int(port) for port in re.findall(r"--port (\d+)", commands)]
        if "bgproxy run" in commands:
            awaited.append(int(self._replaced["8081"]))
        for port in awaited:
            _wait_for(port, process)
        if "bgproxy run" in commands:
            check = ["bgproxy", "healthcheck", "--ready"]
            how = self._how() | {"timeout": 20}
            _wait_until(lambda: subprocess.run(check, check=False, **how).returncode == 0)

    def _how(self) -> dict[str, Any]:
        return {
            "cwd": self._folder,
            "env": self._environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }

    def _adapt(self, text: str) -> str:
        for shown, real in self._replaced.items():
            text = text.replace(shown, real)
        return text


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    def is_open() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    _wait_until(is_open)


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
