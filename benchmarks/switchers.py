"""How each proxy is told to move all traffic: the way that its manual gives for a running one."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peer_files
from benchmarks.bgproxy_file import COLORS, BgproxyFile
from benchmarks.site import Site
from benchmarks.stage import Running

HEALTH_TIMEOUT = 20.0
"""Seconds until bgproxy must have found both environments healthy."""


class Switcher(ABC):
    """One proxy and its way to switch.

    Args:
        name: for tables.
        way: what is called.
        program: that must be there, or "".
        gap: seconds from the end of a call to the next one; enough for the old side to settle.
        switches: how many are made.
    """

    name: str
    way: str
    program: str = ""
    gap: float = 0.01
    switches: int = 100

    @abstractmethod
    def command(self, site: Site) -> Sequence[str]:
        """Write what it reads, blue active, and return what starts it."""

    def prepare(self, running: Running) -> None:
        """Wait for whatever must be true before the first switch."""
        running.server.wait_for(running.site.port)

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what was held from one switch to the next."""

    @abstractmethod
    def switch(self, site: Site, color: str) -> None:
        """Switch, and return when the proxy says that it is done."""


class Bgproxy(Switcher):
    """The admin API over a connection that is kept."""

    way = "`POST …/switch`"

    def __init__(self, workers: int, switches: int) -> None:
        self.name = f"bgproxy, {workers} worker{'s' if workers > 1 else ''}"
        self.switches = switches
        self._workers = workers
        self._connection: http.client.HTTPConnection | None = None

    def command(self, site: Site) -> Sequence[str]:
        """Both environments are checked often, so that they are known to be healthy soon."""
        file = BgproxyFile(
            port=site.port,
            admin=site.admin,
            blue=[site.backend],
            green=[site.other_backend],
            workers=self._workers,
            health={"interval": "500ms", "healthy_after": 1},
        )
        return [sys.executable, "-m", "bgproxy", "run", "-c", file.write(site.folder)]

    def prepare(self, running: Running) -> None:
        """Wait until both environments are healthy: a switch then has nothing to wait for."""
        running.server.wait_for(running.site.admin)
        self._connection = http.client.HTTPConnection("127.0.0.1", running.site.admin)
        deadline = time.monotonic() + HEALTH_TIMEOUT
        while time.monotonic() < deadline:
            environments = self._ask("GET", "/v1/services/default")["environments"]
            if all(one["healthy"] for color in COLORS for one in environments[color]["backends"]):
                return
            time.sleep(0.05)
        raise RuntimeError("bgproxy does not find its backends healthy")

    def switch(self, site: Site, color: str) -> None:
        """Returns when every request that comes from then on goes to the new environment."""
        self._ask("POST", "/v1/services/default/switch", {"to": color})

    def close(self) -> None:
        """Close the connection to the admin API."""
        if self._connection:
            self._connection.close()

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        assert self._connection is not None
        fields = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, json.dumps(body) if body else None, fields)
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {found!r}")
        document: dict[str, Any] = json.loads(found)
        return document


class Nginx(Switcher):
    """A new file and a reload: new worker processes take over, the old ones finish."""

    name = "nginx"
    way = "`nginx -s reload`"
    program = "nginx"
    gap = 0.5

    def command(self, site: Site) -> Sequence[str]:
        """As in the comparison."""
        return peer_files.nginx(site)

    def switch(self, site: Site, color: str) -> None:
        """Returns when the master process has been told; it says nothing when it has done it."""
        command = peer_files.nginx(site, active=color)
        subprocess.run([*command, "-s", "reload"], check=True, capture_output=True)


class Haproxy(Switcher):
    """One entry of a map in memory, changed through the runtime API."""

    name = "HAProxy"
    way = "runtime API, `set map`"
    program = "haproxy"
    switches = 1000

    def command(self, site: Site) -> Sequence[str]:
        """A map names the backend."""
        return peer_files.haproxy(site, is_switched=True)

    def switch(self, site: Site, color: str) -> None:
        """Returns when the map is changed."""
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(f"{site.folder}/admin.sock")
            one.sendall(f"set map {site.folder}/active.map active {color}\n".encode())
            if said := one.recv(4096).strip():
                raise RuntimeError(said.decode())


class Caddy(Switcher):
    """A new configuration through the admin API; servers are replaced, their ports stay open."""

    name = "Caddy"
    way = "admin API, `POST /load`"
    program = "caddy"
    gap = 0.2

    def command(self, site: Site) -> Sequence[str]:
        """As in the comparison."""
        return peer_files.caddy(site)

    def switch(self, site: Site, color: str) -> None:
        """Returns when the new configuration is in use."""
        connection = http.client.HTTPConnection("127.0.0.1", site.admin)
        fields = {"Content-Type": "application/json"}
        document = peer_files.caddy_document(site, active=color)
        connection.request("POST", "/load", document, fields)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"POST /load: {answer.status} {answer.read()!r}")
        connection.close()


class Traefik(Switcher):
    """A new file in place of the one that the file provider watches."""

    name = "Traefik"
    way = "file provider"
    program = "traefik"
    gap = 1.0
    switches = 50

    def command(self, site: Site) -> Sequence[str]:
        """As in the comparison."""
        return peer_files.traefik(site)

    def switch(self, site: Site, color: str) -> None:
        """Returns when the file is there; when Traefik has read it, nobody is told."""
        new = Path(site.write("routes.new", peer_files.traefik_routes(site, active=color)))
        new.rename(site.folder / "traefik-routes.yml")
