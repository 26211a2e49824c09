"""What a switch, a stop and a crash promise, seen on the whole product under real traffic."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.dataplane.harness import Backend, Handler, read_head
from tests.system.harness import Load, Product, running, service_of

LOAD_PATHS = (b"/load", b"/healthz", b"/")


def application(name: bytes, special: Handler | None = None) -> Handler:
    """A small application: says its name, and leaves other paths to a handler of the test's."""

    async def handle(reader, writer):
        while True:
            head = await read_head(reader)
            target = head.split(b" ", 2)[1]
            if target in LOAD_PATHS:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name)
                await writer.drain()
            elif special is not None:
                await special(reader, writer)
                return

    return handle


async def two(special: Handler | None = None) -> tuple[Backend, Backend]:
    """Blue and green; blue has the special path."""
    blue = await Backend(application(b"blue", special)).start()
    green = await Backend(application(b"green")).start()
    return blue, green


async def test_switch_under_load_moves_everyone_and_fails_nobody(tmp_path: Path) -> None:
    """Every answer is 200, and each new request after a switch's answer is the new side's."""
    async with running(tmp_path, service_of(*await two())) as product:
        load = Load(product.port, 16)
        color = "blue"
        for number in range(20):
            color = "green" if color == "blue" else "blue"
            document = await product.switch(to=color, wait="drained" if number % 2 else "applied")
            assert document["generation"] == number + 2
            assert (await product.get()).endswith(color.encode())
            await load.until_answers(50)
        await load.stop()
        assert load.failures == []
        service = await product.service()
        assert service["active"] == "blue"
        assert service["generation"] == 21
        total = sum(e["requests_total"] for e in service["environments"].values())
        assert total == load.answers + 20
        assert sum(e["errors_total"] for e in service["environments"].values()) == 0


async def test_drain_waits_for_what_began_on_the_old_side(tmp_path: Path) -> None:
    """Exchanges end where they began; `wait: drained` answers when the last one has."""
    go_on = asyncio.Event()

    async def special(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await go_on.wait()
        writer.write(b"half")
        await writer.drain()

    async with running(tmp_path, service_of(*await two(special))) as product:
        clients = [await product.connect() for _ in range(3)]
        for _, writer in clients[:2]:
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        clients[2][1].write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nupload")
        for reader, _ in clients[:2]:
            await reader.readuntil(b"half")
        await product.until(lambda s: s["environments"]["blue"]["in_flight"] == 3)

        drained = asyncio.ensure_future(product.switch(to="green", wait="drained"))
        await product.until(lambda s: s["active"] == "green")
        assert (await product.get()).endswith(b"green")
        await asyncio.sleep(0.3)
        assert not drained.done(), "three exchanges are still open"
        assert (await product.service())["phase"] == "draining"

        clients[2][1].write(b"end")
        go_on.set()
        for reader, _ in clients[:2]:
            assert await reader.readexactly(4) == b"half"
        document = await drained
        assert document["drained_at"] is not None
        assert document["outcome"] is None, "the release bakes now"
        assert (await product.service())["phase"] == "baking"
        for _, writer in clients:
            writer.close()


async def test_drain_deadline_closes_what_is_left_and_counts_it(tmp_path: Path) -> None:
    """A stalled answer is cut short, never ended cleanly; a WebSocket gets a 1001 first."""

    async def special(reader, writer):
        head = backend.received[-1]
        if b"Upgrade: websocket" in head:
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n\x81\x05hello"
            )
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await reader.read(1)

    backend, green = await two(special)
    drain = {"timeout": "300ms", "tunnel_timeout": "300ms", "spread": "100ms"}
    async with running(tmp_path, service_of(backend, green, drain=drain)) as product:
        reader, writer = await product.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"half")
        socket_reader, socket_writer = await product.connect()
        socket_writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await socket_reader.readuntil(b"\x81\x05hello")

        document = await product.switch(to="green", wait="drained")

        assert await reader.read(-1) == b""
        assert await socket_reader.read(-1) == b"\x88\x0c\x03\xe9going away"
        assert document["drained_at"] is not None
        service = await product.until(lambda s: s["environments"]["blue"]["in_flight"] == 0)
        assert service["environments"]["blue"]["errors_total"] == 0, "a drain is no failure"
        writer.close()
        socket_writer.close()


async def test_term_under_load_loses_nothing(tmp_path: Path) -> None:
    """Every request that was sent before the listener closed is answered; exit status 0."""
    async with running(tmp_path, service_of(*await two())) as product:
        load = Load(product.port, 32)
        await load.until_answers(500)
        product.process.send_signal(signal.SIGTERM)
        await load.until_refused()
        assert await product.ended() == 0
        assert load.failures == []
        assert load.refused == 32


async def test_stopping_proxy_is_not_ready_and_takes_no_switch(tmp_path: Path) -> None:
    """While the last requests end, load balancers are told, and nothing new is begun."""

    async def special(reader, writer):
        await reader.read(1)

    async with running(tmp_path, service_of(*await two(special))) as product:
        _, writer = await product.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await product.until(lambda s: s["environments"]["blue"]["in_flight"] == 1)
        assert (await product.call("GET", "/readyz"))[0] == 200
        product.process.send_signal(signal.SIGTERM)
        await product.until_logged('"event": "stopping"')
        status, document = await product.call("GET", "/readyz")
        assert (status, document["type"]) == (503, "urn:bgproxy:problem:not-ready")
        status, document = await product.call("POST", "/v1/services/default/switch", {})
        assert (status, document["type"]) == (503, "urn:bgproxy:problem:stopping")
        writer.close()
        assert await product.ended() == 0


async def test_killed_worker_costs_at_most_its_own_requests(tmp_path: Path) -> None:
    """Kill -9 of a worker under load: a successor serves within a second, counts stay."""
    async with running(tmp_path, service_of(*await two())) as product:
        load = Load(product.port, 16)
        await load.until_answers(200)
        before = (await product.service())["environments"]["blue"]["requests_total"]
        victim = product.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        await product.until_logged("worker died")
        await load.until_answers(500)
        await load.stop()
        assert load.refused == 0
        assert len(load.failures) <= 16, "no more than one request of each connection"
        assert load.slowest < 5
        pids = product.worker_pids()
        assert len(pids) == 2
        assert victim not in pids
        after = (await product.service())["environments"]["blue"]["requests_total"]
        assert after >= before + 500


async def test_kill_of_everything_comes_back_on_the_acknowledged_side(tmp_path: Path) -> None:
    """Kill -9 right after an acknowledged switch, again and again: color and generation stay."""
    product = Product(tmp_path, service_of(*await two()))
    color = "blue"
    try:
        for number in range(3):
            await product.start()
            service = await product.service()
            assert (service["active"], service["generation"]) == (color, number + 1)
            color = "green" if color == "blue" else "blue"
            await product.switch(to=color, force=True)
            await product.kill_everything()
        await product.start()
        service = await product.service()
        assert (service["active"], service["generation"]) == (color, 4)
        assert (await product.get()).endswith(color.encode())
        _, history = await product.call("GET", "/v1/services/default/history")
        assert [d["generation"] for d in history["deployments"]] == [4, 3, 2]
    finally:
        await product.kill_everything()


async def test_second_proxy_on_the_same_port_or_state_is_refused(tmp_path: Path) -> None:
    """Two proxies never share a port or a state database without knowing it."""
    async with running(tmp_path, service_of(*await two())) as product:
        (tmp_path / "second").mkdir()
        second = Product(tmp_path / "second", dict(product.config))
        second.config["proxy"] = {"listen": f"127.0.0.1:{product.port}", "workers": 1}
        second.config["state"] = str(tmp_path / "second" / "state.db")
        await second.start(is_expected_to_run=False)
        assert await second.ended() == 1
        assert "cannot listen on" in second.log.read_text()

        third = Product(tmp_path / "second", dict(product.config))
        third.config["state"] = str(tmp_path / "state.db")
        await third.start(is_expected_to_run=False)
        assert await third.ended() == 1


async def test_reload_takes_a_right_file_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    """HUP: new values apply without losing the state; a wrong file changes nothing."""
    blue, green = await two()
    other = await Backend(application(b"other")).start()
    async with running(tmp_path, service_of(blue, green)) as product:
        await product.switch(to="green")
        product.file.write_text("services: [")
        product.process.send_signal(signal.SIGHUP)
        await product.until_logged("configuration refused")
        assert (await product.get()).endswith(b"green")

        backends = [f"http://127.0.0.1:{other.port}"]
        product.config["services"]["default"]["environments"]["green"]["backends"] = backends
        product.reload()
        await product.until_logged("configuration read again")
        service = await product.until(
            lambda s: [b["url"] for b in s["environments"]["green"]["backends"]] == backends
        )
        assert (service["active"], service["generation"]) == ("green", 2)
        assert (await product.get()).endswith(b"other")


async def test_wrong_configuration_ends_with_status_2_and_says_where(tmp_path: Path) -> None:
    """A file that cannot be used is refused with its faults before anything starts."""
    blue, green = await two()
    config = service_of(blue, green, drian={"timeout": "1s"})
    product = Product(tmp_path, config)
    await product.start(is_expected_to_run=False)
    assert await product.ended() == 2
    log = product.log.read_text()
    assert "services.default.drian" in log
    assert "drain" in log
    await blue.stop()
    await green.stop()
