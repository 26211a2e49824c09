"""The admin side of the whole product: its socket, its tokens, its end, and its description."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from pathlib import Path

import pytest

from bgproxy.client import AdminClient, ProblemError
from tests.dataplane.harness import PATIENCE, stop_backends
from tests.system.harness import Product, running, service_of
from tests.system.test_promises import two

ST = Path(sys.executable).with_name("st")


async def test_the_socket_names_its_user_and_a_reload_takes_tokens_over(tmp_path: Path) -> None:
    """The audit trail says who and from where; tokens of a file change without a restart."""
    blue, green = await two()
    tokens = tmp_path / "tokens.yaml"
    tokens.touch(0o600)
    tokens.write_text("- {name: old, role: read, token: old-token-0123456789}\n")
    config = service_of(blue, green)
    config["admin"] = {"socket": str(tmp_path / "a.sock"), "tokens_file": str(tokens)}
    product = Product(tmp_path, config)
    by_socket = AdminClient(f"unix:{tmp_path}/a.sock")

    def asked_with(token: str) -> int:
        client = AdminClient(f"http://127.0.0.1:{product.admin_port}", token=token)
        try:
            client.services()
        except ProblemError as problem:
            return problem.status
        return 200

    try:
        await product.start()
        await asyncio.to_thread(by_socket.switch, "default", to="green")
        (row,) = await asyncio.to_thread(by_socket.audit)
        user = pwd.getpwuid(os.geteuid())
        assert row["actor"] == f"unix:{user.pw_name}"
        assert row["origin"] == f"uid {user.pw_uid}, pid {os.getpid()}"
        assert await asyncio.to_thread(asked_with, "old-token-0123456789") == 200
        tokens.write_text("- {name: new, role: read, token: new-token-0123456789}\n")
        product.reload()
        await product.until_logged("configuration read again")
        assert await asyncio.to_thread(asked_with, "old-token-0123456789") == 401
        assert await asyncio.to_thread(asked_with, "new-token-0123456789") == 200
        tokens.chmod(0o644)
        product.reload()
        await product.until_logged("configuration refused")
        assert await asyncio.to_thread(asked_with, "new-token-0123456789") == 200
        assert "0123456789" not in product.log.read_text()
        assert await product.stop() == 0
        assert not (tmp_path / "a.sock").exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(product.process.pid, signal.SIGKILL)
        await product.process.wait()
        await stop_backends()


async def test_a_call_that_waits_is_answered_when_the_proxy_stops(tmp_path: Path) -> None:
    """With the state in which it is left, not with a closed connection."""
    blue, green = await two()
    async with running(tmp_path, service_of(blue, green)) as product:
        client = AdminClient(f"http://127.0.0.1:{product.admin_port}")
        waiting = asyncio.create_task(
            asyncio.to_thread(client.switch, "default", to="green", wait="finished")
        )
        await product.until(lambda service: service["active"] == "green")
        product.process.terminate()
        with pytest.raises(ProblemError) as refused:
            await waiting
        assert refused.value.status == 503
        assert refused.value.kind == "stopping"
        assert refused.value.document["active"] == "green"
        assert refused.value.document["deployment"]["id"] == 1
        assert await product.ended() == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_contradicts_the_description(tmp_path: Path) -> None:
    """Made-up requests of every kind get only answers that /openapi.json describes."""
    blue, green = await two()
    keys = {
        "switch": {"ready_timeout": "500ms"},
        "drain": {"timeout": "300ms"},
        "rollback": {"bake": "300ms"},
    }
    async with running(tmp_path, service_of(blue, green, **keys)) as product:
        with (tmp_path / "st.log").open("wb") as log:
            checking = await asyncio.create_subprocess_exec(
                str(ST),
                *("run", f"http://127.0.0.1:{product.admin_port}/openapi.json"),
                *("--phases", "coverage", "--exclude-path", "/v1/events"),  # it never ends
                *("--request-timeout", str(PATIENCE), "--seed", "1", "--no-color"),
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
            status = await checking.wait()
        assert status == 0, (tmp_path / "st.log").read_text()
