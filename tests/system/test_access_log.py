"""Access log and maintenance of the whole product: signals, reloads, crashes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.dataplane.harness import Backend, answering
from tests.system.harness import Product, service_of

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"


async def product(folder: Path, **keys: object) -> Product:
    """Not started yet."""
    blue, green = await Backend(answering(OK)).start(), await Backend(answering(OK)).start()
    made = Product(folder, service_of(blue, green, **keys))
    made.config["proxy"]["access_log"] = {"path": str(folder / "access.log")}
    return made


def entries(path: Path) -> list[str]:
    """Paths of the requests in a log."""
    return [json.loads(line)["path"] for line in path.read_text().splitlines()]


async def test_usr1_opens_the_file_anew(tmp_path: Path) -> None:
    """As logrotate wants it: what comes afterwards is in the new file, and nothing is lost."""
    proxy = await product(tmp_path)
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    await proxy.start()
    await proxy.get(b"/old")
    path.rename(moved)
    proxy.process.send_signal(signal.SIGUSR1)
    await proxy.until_logged("access log is opened anew")
    await proxy.get(b"/new")
    assert await proxy.stop() == 0
    # A worker writes at its tick: a line of before may still come in the new file.
    assert sorted(entries(moved) + entries(path)) == ["/new", "/old"]
    assert "/new" in entries(path)


async def test_a_log_that_cannot_be_written_is_found_out_at_once(tmp_path: Path) -> None:
    """A start is refused, a reload keeps what was."""
    proxy = await product(tmp_path)
    wrong = {"path": str(tmp_path / "missing" / "access.log")}
    right, proxy.config["proxy"]["access_log"] = proxy.config["proxy"]["access_log"], wrong
    await proxy.start(is_expected_to_run=False)
    assert await proxy.ended() == 1
    assert "No such file or directory" in proxy.log.read_text()
    proxy.config["proxy"]["access_log"] = right
    await proxy.start()
    proxy.config["proxy"]["access_log"] = wrong
    proxy.reload()
    await proxy.until_logged("configuration refused, the old one stays")
    await proxy.get(b"/still-here")
    assert await proxy.stop() == 0
    assert entries(tmp_path / "access.log") == ["/still-here"]


async def test_maintenance_holds_over_kill_9_and_a_reload_brings_its_page(tmp_path: Path) -> None:
    """Closed before, closed after, from the first request on; the health path passes."""
    proxy = await product(tmp_path)
    await proxy.start()
    body = {"on": True, "message": "Back soon.", "allow": ["192.0.2.0/24"]}
    status, _ = await proxy.call("POST", "/v1/services/default/maintenance", body)
    assert status == 200
    assert b"Back soon." in await proxy.get()
    await proxy.kill_everything()
    page = tmp_path / "busy.html"
    page.write_text("<h1>{{detail}}</h1>")
    proxy.config["services"]["default"]["error_pages"] = {503: str(page)}
    await proxy.start()
    assert (await proxy.get()).startswith(b"HTTP/1.1 503 ")
    assert (await proxy.get(b"/healthz")).startswith(b"HTTP/1.1 200 ")
    reader, writer = await proxy.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    assert (await reader.read(-1)).endswith(b"\r\n\r\n<h1>Back soon.</h1>")
    writer.close()
    status, document = await proxy.call("POST", "/v1/services/default/maintenance", {"on": False})
    assert (status, document["maintenance"]) == (200, None)
    assert (await proxy.get()).startswith(b"HTTP/1.1 200 ")
    assert await proxy.stop() == 0
