"""`bgproxy demo`: two sample applications and the proxy before them, until Ctrl-C.

Each is a process of its own, in a process group of its own: Ctrl-C in a terminal reaches this
process alone, which then ends the proxy first and the applications after it. Should this process
die without that, as by KILL, the kernel ends them in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgproxy.client import AdminClient, ProblemError, UnreachableError
from bgproxy.domain.model import Color
from bgproxy.errors import BgproxyError

DEFAULT_LISTEN = 8080
DEFAULT_ADMIN = 8081
DEFAULT_BLUE = 9001
DEFAULT_GREEN = 9002

READY_TIMEOUT = 20.0
"""Seconds until the proxy must be ready with both applications healthy."""

STOP_TIMEOUT = 10.0
"""Seconds that a child has to end after TERM before it is killed."""

_PR_SET_PDEATHSIG = 1

_CONFIG = """\
proxy:
  listen: "{listen}"
  workers: 2
admin:
  listen: "{admin}"
state: "{state}"
services:
  default:
    environments:
      blue:  {{backends: ["{blue}"], release: v1}}
      green: {{backends: ["{green}"], release: v2}}
    active: blue
    health: {{path: /healthz, interval: 1s}}
    drain: {{timeout: 10s, tunnel_timeout: 10s}}
    rollback: {{bake: 2m}}
"""

_WELCOME = """\
bgproxy is running with two sample applications behind it.

  traffic    http://{listen}   (open it in a browser, or use curl)
  dashboard  http://{admin}
  blue       {blue}   release v1, active
  green      {green}   release v2, idle
{notes}
Try, in another terminal:

  curl http://{listen}/
  {command} status{admin_option}
  {command} switch{admin_option}
  {command} rollback{admin_option}
  while sleep 0.2; do curl -s http://{listen}/; done

A release that goes wrong is taken back by itself: make green fail half of its answers, keep
the loop above running, and switch.

  curl -X POST '{green}/fail?share=0.5'
  {command} switch green --wait finished{admin_option}

Ctrl-C ends everything.
"""


class DemoError(BgproxyError):
    """The demo cannot run; the text says why."""


@dataclass(frozen=True, slots=True)
class DemoAddresses:
    """Who listens where: ``host:port`` for the proxy, a base URL for each application.

    Args:
        notes: sentences about usual ports that others have.
    """

    listen: str
    admin: str
    blue: str
    green: str
    notes: tuple[str, ...] = ()

    @classmethod
    def choose(cls, listen: str | None = None, admin: str | None = None) -> DemoAddresses:
        """The usual ports where they are free, else others; what is given is taken as it is."""
        addresses = {"traffic": listen, "the dashboard": admin, "blue": None, "green": None}
        usual = (DEFAULT_LISTEN, DEFAULT_ADMIN, DEFAULT_BLUE, DEFAULT_GREEN)
        given = {address.rpartition(":")[2] for address in (listen, admin) if address}
        notes = []
        with contextlib.ExitStack() as held:
            for (name, address), port in zip(addresses.items(), usual, strict=True):
                if address is not None:
                    continue
                found = _free_port(0 if str(port) in given else port, held)
                addresses[name] = f"127.0.0.1:{found}"
                if found != port:
                    notes.append(f"Port {port} is taken, so {name} has port {found}.")
        proxy, dashboard, blue, green = addresses.values()
        assert proxy is not None
        assert dashboard is not None
        return cls(proxy, dashboard, f"http://{blue}", f"http://{green}", tuple(notes))

    def configuration(self, state: Path) -> str:
        """The proxy's configuration file."""
        return _CONFIG.format(
            listen=self.listen, admin=self.admin, blue=self.blue, green=self.green, state=state
        )

    def welcome(self) -> str:
        """What to open and what to try."""
        is_usual = self.admin == f"127.0.0.1:{DEFAULT_ADMIN}"
        return _WELCOME.format(
            listen=self.listen,
            admin=self.admin,
            blue=self.blue,
            green=self.green,
            notes="".join(f"\n  {note}" for note in self.notes) + ("\n" if self.notes else ""),
            command=_own_command(),
            admin_option="" if is_usual else f" --admin http://{self.admin}",
        )


def run_demo(listen: str | None = None, admin: str | None = None) -> int:
    """Run the demo until INT or TERM.

    Args:
        listen: ``host:port`` for traffic; None for the usual one, or a free one.
        admin: the same for the admin API.

    Returns:
        The exit status: 0 after a signal, 1 when a part of it did not start or died.
    """
    addresses = DemoAddresses.choose(listen, admin)
    with tempfile.TemporaryDirectory(prefix="bgproxy-demo-") as folder:
        try:
            asyncio.run(_run(addresses, Path(folder)))
        except DemoError as error:
            print(f"bgproxy demo: {error}", file=sys.stderr)
            return 1
    return 0


async def _run(addresses: DemoAddresses, folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    config = folder / "bgproxy.yaml"
    config.write_text(addresses.configuration(folder / "bgproxy.db"))
    children: dict[str, Process] = {}
    try:
        # The order of the dict is the order in which they start; they end the other way round.
        children["blue"] = await _start_application(Color.BLUE, "v1", addresses.blue)
        children["green"] = await _start_application(Color.GREEN, "v2", addresses.green)
        children["the proxy"] = await _start("bgproxy", "run", "-c", str(config))
        if await _is_cut_short(_prepare(addresses), children, stop):
            return
        print(addresses.welcome(), flush=True)
        await _is_cut_short(asyncio.Event().wait(), children, stop)
    finally:
        for child in reversed(children.values()):
            await _end(child)


async def _start_application(color: Color, release: str, url: str) -> Process:
    host, _, port = url.removeprefix("http://").rpartition(":")
    options = ("--host", host, "--port", port, "--color", color.value, "--release", release)
    return await _start("bgproxy.sample_app", *options)


async def _start(module: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, process_group=0, preexec_fn=_tie_to_parent()
    )


def _tie_to_parent() -> Callable[[], None] | None:
    """What a child does before its program begins: ask for TERM when this process is gone."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # gone before that was asked for
            os._exit(1)

    return tie


async def _is_cut_short(
    work: Coroutine[Any, Any, Any], children: Mapping[str, Process], stop: asyncio.Event
) -> bool:
    """Do `work`, but not beyond a signal; True if that came first.

    Raises:
        DemoError: when a child ended, which none should.
    """
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    endings = {asyncio.ensure_future(child.wait()): name for name, child in children.items()}
    everything = {doing, stopping, *endings}
    done, pending = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    for future in pending:
        future.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if stopping in done:
        return True
    for ending, name in endings.items():
        if ending in done:
            raise DemoError(f"{name} ended by itself, with status {ending.result()}")
    doing.result()
    return False


async def _prepare(addresses: DemoAddresses) -> None:
    """Wait until the proxy is ready and both applications are healthy.

    Raises:
        DemoError: when that takes too long.
    """
    client = AdminClient(f"http://{addresses.admin}", timeout=2)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_TIMEOUT
    while not await asyncio.to_thread(_is_ready, client):
        if loop.time() > deadline:
            raise DemoError(f"the proxy did not become ready within {READY_TIMEOUT:g} s")
        await asyncio.sleep(0.1)


def _is_ready(client: AdminClient) -> bool:
    try:
        if not client.is_ready():
            return False
        environments = client.service("default")["environments"]
    except (ProblemError, UnreachableError):
        return False
    backends = (*environments["blue"]["backends"], *environments["green"]["backends"])
    return all(backend["healthy"] for backend in backends)


async def _end(child: Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT)
        except TimeoutError:
            child.kill()
            await child.wait()


def _free_port(preferred: int, held: contextlib.ExitStack) -> int:
    """The preferred port of 127.0.0.1 if it is free, else one that the kernel picks.

    Args:
        preferred: 0 for none.
        held: keeps the port from being found twice, until it is left.
    """
    for port in (preferred, 0):
        probe = held.enter_context(socket.socket())
        # As servers do: a port whose old connections merely linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise DemoError("no port is free on 127.0.0.1")


def _own_command() -> str:
    """How this program is called in a shell: by name if that is on PATH."""
    if shutil.which("bgproxy"):
        return "bgproxy"
    script = Path(sys.executable).with_name("bgproxy")
    if not script.exists():
        return f"{sys.executable} -m bgproxy"
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)
