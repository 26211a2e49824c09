"""What the browser tests and the documentation's pictures play on: demo, visitors, Chromium."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass(frozen=True, slots=True)
class Demo:
    """Base URLs of a running demo."""

    traffic: str
    dashboard: str
    green: str

    def fail(self, share: float) -> None:
        """Make green fail that share of its answers."""
        request = urllib.request.Request(f"{self.green}/fail?share={share}", method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def visit(self, path: str) -> None:
        """One request to the traffic's address."""
        urllib.request.urlopen(f"{self.traffic}{path}", timeout=30).close()


@contextmanager
def demo() -> Iterator[Demo]:
    """`bgproxy demo` as a user starts it."""
    listen, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
    command = [sys.executable, "-m", "bgproxy", "demo"]
    with subprocess.Popen(
        [*command, "--listen", listen, "--admin-listen", admin],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            green = ""
            for line in process.stdout:
                if found := re.match(r" +green +(http://\S+)", line):
                    green = found[1]
                if "Ctrl-C ends everything" in line:
                    break
            assert green
            yield Demo(f"http://{listen}", f"http://{admin}", green)
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()


@contextmanager
def visitors(url: str, count: int = 2, pause: float = 0.03) -> Iterator[list[str]]:
    """Some sixty requests a second; which environment answered each."""
    answered: list[str] = []
    done = threading.Event()

    def visit() -> None:
        while not done.wait(pause):
            with suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
                answered.append(response.read().decode().split()[0])

    threads = [threading.Thread(target=visit) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        done.set()
        for thread in threads:
            thread.join()


def wait_for(is_true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when it is; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
