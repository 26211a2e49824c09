"""How long a switch takes while the admin API is abused, beside how long it takes in peace.

``python -m benchmarks.admin_abuse`` starts a proxy with tokens and two backends, switches to and
fro in peace, then again with 100 event streams that nobody reads, 200 idle connections, and a
flood of wrong tokens from two processes. The abuse and the measuring share this machine's cores
with the proxy, so what is shown includes waiting for a core.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SUBSCRIBERS = 100
IDLE = 200
FLOODERS = 2
FLOOD_CONNECTIONS = 100
"""Of each flooder, each with one request at a time."""

_WRONG = (
    b"GET /v1/services HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer it-is-not-this\r\n\r\n"
)

TOKEN = "the-token-of-the-one-who-switches"

_CONFIG = """\
proxy: {{listen: "127.0.0.1:{port}", workers: 1}}
admin:
  listen: "127.0.0.1:{admin}"
  tokens: [{{name: ci, role: switch, token: {token}}}]
state: {folder}/state.db
services:
  default:
    environments:
      blue: {{backends: ["http://127.0.0.1:{blue}"]}}
      green: {{backends: ["http://127.0.0.1:{green}"]}}
    health: {{interval: 1s, healthy_after: 1}}
    drain: {{timeout: 1s}}
    rollback: {{bake: 0}}
"""


class _Backend(BaseHTTPRequestHandler):
    """Answers every probe."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _backend() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def _proxy() -> Iterator[tuple[int, int]]:
    """A running proxy's admin port and process id."""
    with tempfile.TemporaryDirectory() as folder, _backend() as blue, _backend() as green:
        admin = _free_port()
        file = Path(folder) / "bgproxy.yaml"
        file.write_text(
            _CONFIG.format(
                port=_free_port(), admin=admin, token=TOKEN, folder=folder, blue=blue, green=green
            )
        )
        command = [sys.executable, "-m", "bgproxy", "run", "-c", str(file)]
        environment = os.environ | {"XDG_RUNTIME_DIR": folder}
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _until_healthy(admin)
            yield admin, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _call(port: int, method: str, path: str, body: dict[str, object] | None) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        document: dict[str, object] = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered {answer.status}: {document}")
        return document
    finally:
        connection.close()


def _until_healthy(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            text = json.dumps(_call(port, "GET", "/v1/services/default", None))
            if text.count('"healthy": true') >= 2:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the proxy did not start")
        time.sleep(0.1)


# -- the abuse ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _abuse(port: int, impatient: int) -> Iterator[None]:
    """Everything at once, until the end of the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(SUBSCRIBERS):
            stream = stack.enter_context(socket.socket())
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect(("127.0.0.1", port))
            stream.sendall(
                b"GET /v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer %b\r\n\r\n" % TOKEN.encode()
            )
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        context = multiprocessing.get_context("spawn")
        flooders = [context.Process(target=_flood, args=(port, impatient)) for _ in range(FLOODERS)]
        for flooder in flooders:
            flooder.start()
        time.sleep(2)
        try:
            yield
        finally:
            for flooder in flooders:
                flooder.kill()
                flooder.join()


def _flood(port: int, impatient: int) -> None:
    """Present wrong tokens from many threads: they wait for the answer, or hang up at once."""
    for number in range(FLOOD_CONNECTIONS):
        presenting = _hang_up if number < impatient else _wait_for_answers
        threading.Thread(target=presenting, args=(port,), daemon=True).start()
    threading.Event().wait()


def _wait_for_answers(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(_WRONG)
            while one.recv(65536):
                one.sendall(_WRONG)


def _hang_up(port: int) -> None:
    """Reset each connection, which leaves no port occupied."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.sendall(_WRONG)


# -- the measuring --------------------------------------------------------------------------------


def _measure(port: int, pid: int, switches: int, what: str) -> list[float]:
    """Milliseconds of each switch; prints a line."""
    taken = []
    busy, began = _cpu_seconds(pid), time.monotonic()
    for number in range(switches):
        body: dict[str, object] = {"to": ("green", "blue")[number % 2], "verify": False}
        start = time.perf_counter()
        _call(port, "POST", "/v1/services/default/switch", body)
        taken.append((time.perf_counter() - start) * 1000)
        time.sleep(0.1)
    share = (_cpu_seconds(pid) - busy) / (time.monotonic() - began)
    taken.sort()
    p95 = taken[int(len(taken) * 0.95)]
    median = taken[len(taken) // 2]
    print(
        f"{what:9} median {median:6.1f} ms   95% {p95:6.1f} ms   max {taken[-1]:6.1f} ms   "
        f"supervisor {share:4.0%} of a core"
    )
    return taken


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure in peace, then under abuse, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=60, help="in peace, and again under abuse")
    parser.add_argument(
        "--impatient",
        type=int,
        default=0,
        help=f"of each flooder's {FLOOD_CONNECTIONS} connections, how many hang up at once and "
        "come back: they take the cores from the proxy, and fill TCP's queue",
    )
    arguments = parser.parse_args()
    with _proxy() as (port, pid):
        peace = _measure(port, pid, arguments.switches, "in peace")
        with _abuse(port, arguments.impatient):
            abused = _measure(port, pid, arguments.switches, "abused")
    delay = abused[-1] - peace[len(peace) // 2]
    print(f"the slowest switch under abuse took {delay:.0f} ms more than the usual one in peace")


if __name__ == "__main__":
    main()
