"""Everything that a measurement needs to be up: compiled programs, backends, proxies."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import LOAD_CORE, PROXY_CORE, START_TIMEOUT, Server, free_port, free_ports
from benchmarks.requests import curl
from benchmarks.site import Certificate, Site
from benchmarks.tools import Tools, build


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that is up, and where it is."""

    server: Server
    site: Site


class Stage:
    """A folder, the load's programs and two backends; made by `on_stage`.

    Args:
        backends: ports of the two, which differ in the first byte of their small answers: `b` and
            `g`.
        backend_servers: their processes.
    """

    def __init__(
        self,
        folder: Path,
        tools: Tools,
        backends: tuple[int, int],
        backend_servers: Sequence[Server],
        stack: contextlib.ExitStack,
    ) -> None:
        self.folder = folder
        self.tools = tools
        self.backends = backends
        self.backend_servers = backend_servers
        self._certificate = Certificate.make(folder)
        self._stack = stack

    def site(self, name: str) -> Site:
        """A place for a proxy, with free ports before the two backends."""
        own = self.folder / name
        own.mkdir()
        ports = (free_port(), free_port(), free_port())
        return Site(own, *ports, *self.backends, self._certificate)

    def more_backends(self, count: int) -> list[int]:
        """Ports of so many more backends, all served by one process on the load's core."""
        ports = free_ports(count)
        command = [self.tools.backend, "b", *map(str, ports)]
        server = Server(command, LOAD_CORE, log=self.folder / f"backends-{ports[0]}.log")
        self._stack.callback(server.stop)
        server.wait_for(ports[-1])
        return ports

    def start(
        self,
        name: str,
        command: Callable[[Site], Sequence[str]],
        cores: int | str = PROXY_CORE,
    ) -> Running:
        """Start a proxy, and return when it passes requests on and rests; it ends with the stage.

        Some answer before everything else of theirs is loaded, which is no request's cost.
        """
        site = self.site(name)
        server = Server(command(site), cores, log=site.folder / "output")
        self._stack.callback(server.stop)
        server.wait_for(site.port)
        _wait_for_an_answer(site.port)
        _wait_for_rest(server)
        return Running(server, site)


def _wait_for_an_answer(port: int) -> None:
    """Return when a request is answered well: some listen before they know their routes.

    Raises:
        RuntimeError: when that does not happen in time.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
            one.sendall(curl("/small")[0])
            if one.recv(4096).startswith(b"HTTP/1.1 200 "):
                return
        time.sleep(0.02)
    raise RuntimeError(f"no good answer from port {port}")


def _wait_for_rest(server: Server) -> None:
    """Return when a proxy with nothing to do uses hardly any CPU time.

    Raises:
        RuntimeError: when that does not happen in time.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        before = server.cpu_time()
        time.sleep(_LOOK)
        if server.cpu_time().since(before).total < _REST_SHARE * _LOOK:
            return
    raise RuntimeError("a proxy does not come to rest")


_LOOK = 0.3
_REST_SHARE = 0.1


@contextlib.contextmanager
def on_stage(cores: int | str = LOAD_CORE) -> Iterator[Stage]:
    """A stage for as long as the block runs; the backends have these cores.

    TERM ends it in order as well: what was started must not go on and eat the cores that the next
    measurement needs.
    """
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(prefix="bgproxy-bench-") as name,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(signal.signal, signal.SIGTERM, former)
        folder = Path(name)
        tools = build(folder)
        blue, green = free_port(), free_port()
        servers = []
        for port, mark in ((blue, "b"), (green, "g")):
            log = folder / f"backend-{mark}.log"
            server = Server([tools.backend, mark, str(port)], cores, log=log)
            servers.append(server)
            stack.callback(server.stop)
            server.wait_for(port)
        yield Stage(folder, tools, (blue, green), servers, stack)
