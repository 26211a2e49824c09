"""Under systemd: the units, what the proxy tells it, and sockets that it has opened beforehand.

There is no systemd to run under here; its programs check the units, and the tests do towards the
proxy what it would do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dataplane.harness import PATIENCE, Backend, answering
from tests.deploy.tools import CONFIG, ROOT, find, run
from tests.ports import free_port
from tests.system.harness import Product, running_product, service_of

UNITS = CONFIG / "systemd"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

LAUNCH = """
import ctypes, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
for place, fd in enumerate(fds, 3):
    os.dup2(fd, place)
if fds:
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds))}
os.environ["WATCHDOG_PID"] = str(os.getpid())
PR_SET_MDWE = 65  # where the kernel knows it; as MemoryDenyWriteExecute= does
ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "bgproxy", "run", "-c", sys.argv[2]])
"""
"""Becomes the proxy, as a service manager's child does."""


class Service(Product):
    """The proxy as systemd would start it."""

    def __init__(
        self, folder: Path, config: dict[str, Any], sockets: tuple[socket.socket, ...] = ()
    ) -> None:
        super().__init__(folder, config)
        self.sockets = sockets
        self.environ: dict[str, str] = {}
        if sockets and sockets[0].family == socket.AF_INET:
            self.port = sockets[0].getsockname()[1]
            config["proxy"]["listen"] = f"127.0.0.1:{self.port}"

    def command(self) -> tuple[str, ...]:
        fds = ",".join(str(sock.fileno()) for sock in self.sockets)
        return ("-c", LAUNCH, fds, str(self.file))

    async def start(self, *, is_expected_to_run: bool = True) -> None:
        """Write the file, and become the proxy with what systemd passes."""
        self.write()
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[sock.fileno() for sock in self.sockets],
                env=os.environ | self.environ,
            )
        if is_expected_to_run:
            await self.until_logged('"event": "running"')

    def write(self) -> None:
        """The configuration as it is now."""
        self.file.write_text(yaml.safe_dump(self.config))


async def _config(**keys: Any) -> dict[str, Any]:
    backends = [await Backend(answering(OK)).start() for _ in range(2)]
    return service_of(backends[0], backends[1], **keys)


def _listening(*, port: int = 0) -> socket.socket:
    """A socket as `ListenStream=` with `ReusePort=yes` makes it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(64)
    return sock


@pytest.fixture
def passed() -> Iterator[tuple[socket.socket, ...]]:
    """Two sockets on one port."""
    first = _listening()
    second = _listening(port=first.getsockname()[1])
    yield first, second
    first.close()
    second.close()


# -- units ---------------------------------------------------------------------------------------


def _installed(folder: Path, change: tuple[str, str] = ("", "")) -> list[Path]:
    """Copies of the units that name a program which is there."""
    program = find("bgproxy")
    for name in ("bgproxy.service", "bgproxy.socket"):
        text = (UNITS / name).read_text().replace("/opt/bgproxy/bin/bgproxy", program)
        (folder / name).write_text(text.replace(*change) if change[0] else text)
    return [folder / "bgproxy.service", folder / "bgproxy.socket"]


def test_systemd_has_nothing_against_the_units(tmp_path: Path) -> None:
    """Not a word; it only warns of a key that it does not know."""
    done = run("systemd-analyze", "verify", "--man=no", *_installed(tmp_path))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_misspelt_key_would_be_noticed(tmp_path: Path) -> None:
    """The check above can fail."""
    units = _installed(tmp_path, ("ProtectHome", "ProtectHouse"))
    assert "ProtectHouse" in run("systemd-analyze", "verify", "--man=no", *units).stderr


def test_the_exposure_is_what_the_documentation_says() -> None:
    """As systemd itself scores it, from 0 to 10, less being better."""
    done = run("systemd-analyze", "security", "--offline=true", UNITS / "bgproxy.service")
    found = re.search(r"Overall exposure level for bgproxy.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 2
    assert f"exposure level {found[1]}" in (ROOT / "docs" / "deploying.md").read_text()


# -- what systemd is told ------------------------------------------------------------------------


class Manager(asyncio.DatagramProtocol):
    """The other end of `NOTIFY_SOCKET`."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    @classmethod
    async def listening(cls, address: str) -> tuple[asyncio.DatagramTransport, Manager]:
        """Bind to a path, or to an abstract name that begins with `@`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(address.replace("@", "\0", 1))
        return await asyncio.get_running_loop().create_datagram_endpoint(cls, sock=sock)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.messages.put_nowait(dict(line.split("=", 1) for line in data.decode().splitlines()))

    async def hear_of(self, key: str) -> dict[str, str]:
        """The next message with a certain key."""
        async with asyncio.timeout(PATIENCE):
            while key not in (message := await self.messages.get()):
                pass
        return message

    async def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for some time."""
        await asyncio.sleep(seconds)
        return self.messages.empty()

    def forget(self) -> None:
        """Whatever has come so far."""
        while not self.messages.empty():
            self.messages.get_nowait()


@contextlib.asynccontextmanager
async def _managed(folder: Path, address: str) -> AsyncIterator[tuple[Service, Manager]]:
    transport, manager = await Manager.listening(address)
    service = Service(folder, await _config())
    service.environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"}
    try:
        async with running_product(service):
            yield service, manager
    finally:
        transport.close()


async def test_systemd_is_told_how_the_service_is(tmp_path: Path) -> None:
    """Ready, who is live, reloading with the time, stopping."""
    async with _managed(tmp_path, str(tmp_path / "notify")) as (service, manager):
        message = await manager.hear_of("READY")
        assert message == {"READY": "1", "STATUS": "default: blue (generation 1)"}
        await service.switch(to="green")
        assert (await manager.hear_of("STATUS"))["STATUS"] == "default: green (generation 2)"
        service.reload()
        assert int((await manager.hear_of("RELOADING"))["MONOTONIC_USEC"]) > 0
        assert (await manager.hear_of("READY"))["STATUS"] == "default: green (generation 2)"
        service.process.terminate()
        assert (await manager.hear_of("STOPPING"))["STOPPING"] == "1"
        assert await service.ended() == 0


async def test_signs_of_life_stop_while_a_worker_hangs(tmp_path: Path) -> None:
    """A supervisor does not answer for workers that do not.

    1. Signs come. 2. A worker is stopped: what was on its way comes, then none for longer than the
    time-out of the watchdog. 3. It goes on, and so do the signs. All over an abstract socket.
    """
    address = f"@bgproxy-test-{os.getpid()}"
    async with _managed(tmp_path, address) as (service, manager):
        await manager.hear_of("WATCHDOG")
        await manager.hear_of("WATCHDOG")
        (pid, _) = service.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.3)
        manager.forget()
        assert await manager.is_silent(1.0)
        os.kill(pid, signal.SIGCONT)
        await manager.hear_of("WATCHDOG")


# -- sockets -------------------------------------------------------------------------------------


async def test_requests_wait_in_passed_sockets_while_the_proxy_restarts(
    tmp_path: Path, passed: tuple[socket.socket, ...]
) -> None:
    """Two workers, two sockets; clients that come while nobody serves get their answers later."""
    service = Service(tmp_path, await _config(), passed)
    async with running_product(service):
        assert (await service.get()).startswith(b"HTTP/1.1 200 ")
        assert await service.stop() == 0
        waiting = [asyncio.ensure_future(service.get()) for _ in range(8)]
        await service.start()
        answers = await asyncio.gather(*waiting)
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert await service.stop() == 0


async def test_workers_share_a_single_passed_socket(tmp_path: Path) -> None:
    """A unix one at that; its path is systemd's, so it is still there in the end."""
    path = str(tmp_path / "http.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(64)
        config = await _config()
        service = Service(tmp_path, config, (sock,))
        config["proxy"]["listen"] = f"unix:{path}"
        async with running_product(service):
            for _ in range(4):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
                writer.close()
            assert await service.stop() == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ({"workers": 1}, "2 sockets were passed"),
        ({"workers": 2, "listen": f"127.0.0.1:{free_port()}"}, "no listener is configured"),
    ],
)
async def test_sockets_that_nobody_would_serve_are_refused(
    tmp_path: Path, passed: tuple[socket.socket, ...], proxy: dict[str, Any], words: str
) -> None:
    """Clients whose connections the kernel gives to them would wait for ever."""
    service = Service(tmp_path, await _config(), passed)
    service.config["proxy"].update(proxy)
    await service.start(is_expected_to_run=False)
    assert await service.ended() == 1
    assert words in service.log.read_text()
