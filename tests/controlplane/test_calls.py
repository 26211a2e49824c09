"""Calls: commands and webhooks as real processes and real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bgproxy.controlplane import calls as module
from bgproxy.controlplane.calls import Caller, talk
from bgproxy.domain.hooks import Call, CommandCall, Hooks, WebhookCall, sign
from bgproxy.domain.model import Color, VerifyPolicy, WarmUp
from bgproxy.errors import Refused
from bgproxy.state.ledger import Pointer
from tests.controlplane.harness import ControlPlane, control_plane

DOCUMENT = {"service": "default", "to": "green", "deployment": 7, "release": None}


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """One that is closed afterwards."""
    caller = Caller()
    yield caller
    await caller.close()


def python(script: str, timeout: float = 20.0) -> CommandCall:
    """A command that runs a script."""
    return CommandCall("script", (sys.executable, "-c", script), timeout)


async def run_one(caller: Caller, call: Call) -> dict[str, Any]:
    (report,) = await caller.run([call], DOCUMENT, "key")
    return report


async def test_a_command_is_told_everything(caller: Caller) -> None:
    """On standard input, and the main facts as variables; what it prints is kept."""
    report = await run_one(
        caller,
        python(
            "import json, os, sys; document = json.load(sys.stdin); "
            "print(document['to'], os.environ['BGPROXY_DEPLOYMENT'], "
            "'BGPROXY_RELEASE' in os.environ, file=sys.stderr)"
        ),
    )
    assert report["passed"] is True
    assert report["output"] == "green 7 False\n"


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
)
async def test_the_exit_status_decides(caller: Caller, script: str, failure: str) -> None:
    """Zero is a yes, all else a no."""
    report = await run_one(caller, python(script))
    assert (report["passed"], report["failures"]) == (False, [failure])


async def test_only_the_end_of_much_output_is_kept(caller: Caller) -> None:
    """Errors stand at the end."""
    report = await run_one(caller, python("print('x' * 1_000_000); print('the end')"))
    assert len(report["output"]) == 4096
    assert report["output"].endswith("the end\n")


def has_ended(pid: int) -> bool:
    """Whether a process ends within seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(10_000))
    os.close(descriptor)
    return ended


async def test_a_command_that_hangs_is_killed_with_what_it_started(caller: Caller) -> None:
    """Nothing of it is left."""
    script = (
        "import subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid, flush=True); child.wait()"
    )
    report = await run_one(caller, python(script, timeout=1.0))
    assert report["failures"] == ["it took longer than 1 s"]
    assert has_ended(int(report["output"]))


async def test_a_missing_program_is_a_failure(caller: Caller) -> None:
    """Named."""
    report = await run_one(caller, CommandCall("x", ("/no/such/program",)))
    assert report["failures"] == ["cannot run /no/such/program: No such file or directory"]


class Receiver:
    """A webhook's other side; it answers one status after another, the last one for ever."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), dict(request.headers)))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """One that listens; pauses between attempts are none."""
    monkeypatch.setattr(module, "retry_pause", lambda attempt: 0.0)
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


async def test_a_webhook_is_signed_and_keyed(caller: Caller, receiver: Receiver) -> None:
    """The body is the document; the key is the same for every attempt."""
    receiver.statuses = [503, 200]
    report = await run_one(caller, WebhookCall("hook", receiver.url, secret="s"))
    assert (report["passed"], report["attempts"]) == (True, 2)
    assert report["failures"] == ["answered 503 Service Unavailable"]
    (body, fields), (again, more) = receiver.got
    assert json.loads(body) == DOCUMENT
    assert again == body
    assert fields["Idempotency-Key"] == more["Idempotency-Key"] == "key-hook"
    at = int(fields["X-BGProxy-Signature"].partition(",")[0].removeprefix("t="))
    assert fields["X-BGProxy-Signature"] == sign("s", at, body)


@pytest.mark.parametrize(
    ("statuses", "attempts"), [([404], 1), ([500], 3), ([302], 1), ([429, 404], 2)]
)
async def test_how_often_a_webhook_is_sent(
    caller: Caller, receiver: Receiver, statuses: list[int], attempts: int
) -> None:
    """A no is a no; trouble is tried again, so many times."""
    receiver.statuses = statuses
    report = await run_one(caller, WebhookCall("hook", receiver.url))
    assert report["passed"] is False
    assert report["attempts"] == len(receiver.got) == attempts
    assert "X-BGProxy-Signature" not in receiver.got[0][1]


async def test_a_webhook_that_nobody_answers(caller: Caller, receiver: Receiver) -> None:
    """Tried as often, and the reason is kept."""
    report = await run_one(caller, WebhookCall("hook", "http://127.0.0.1:1/", attempts=2))
    assert report["passed"] is False
    assert len(report["failures"]) == 2


async def test_all_calls_are_made(caller: Caller) -> None:
    """One that fails does not spare the others."""
    reports = await caller.run([python("raise SystemExit(1)"), python("pass")], DOCUMENT, "key")
    assert [report["passed"] for report in reports] == [False, True]


async def test_a_command_may_be_over_before_it_is_told_anything() -> None:
    """It is judged by its exit status, as any other."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "print('done')",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert await process.wait() == 0
    assert process.stdin is not None
    async with asyncio.timeout(10):
        while not process.stdin.is_closing():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
    output = bytearray()
    await talk(process, b"{}", output)
    assert output == b"done\n"


async def switch(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    return await plane.coordinator.switch("default", to=None, actor="ann", **more)


async def test_a_hook_may_veto_before_the_switch(tmp_path: Path) -> None:
    """Only there; force goes past it."""
    hooks = Hooks(before_switch=(python("raise SystemExit('no!')"),))
    async with control_plane(tmp_path, hooks=hooks) as (plane, _, _):
        with pytest.raises(Refused, match="Vetoed before the switch: script") as caught:
            await switch(plane)
        assert caught.value.kind == "checks-failed"
        assert caught.value.facts["hooks"][0]["output"] == "no!\n"
        assert plane.fleet.ledger.pointer(0) == Pointer(1, Color.BLUE)
        assert (await switch(plane, force=True))["generation"] == 2


async def test_hooks_are_told_what_happened(tmp_path: Path, receiver: Receiver) -> None:
    """After the switch, the drain and the rollback; a failure there changes nothing."""
    receiver.statuses = [404]
    call = (WebhookCall("hook", receiver.url),)
    hooks = Hooks(after_switch=call, on_drained=call, after_rollback=call)
    async with control_plane(tmp_path, hooks=hooks) as (plane, _, _):
        deployment = await switch(plane, wait="drained")
        for moment in ("after_switch", "on_drained"):
            await plane.event("hooks", lambda e, m=moment: e.data["moment"] == m)  # type: ignore[misc]
        await plane.coordinator.rollback("default", actor="ann", wait="finished")
        event = await plane.event("hooks", lambda e: e.data["moment"] == "after_rollback")
        assert event.data["failed"] == ["hook"]
        assert plane.fleet.ledger.pointer(0) == Pointer(3, Color.BLUE)
        told = {json.loads(body)["moment"]: json.loads(body) for body, _ in receiver.got}
        assert told["after_switch"]["to"] == "green"
        assert told["on_drained"]["drained_at"] is not None
        assert told["after_rollback"]["kind"] == "rollback"
        explained = await plane.coordinator.deployment("default", deployment["id"])
        assert set(explained["explanation"]["hooks"]) == {"after_switch", "on_drained"}


async def test_calls_and_warm_up_take_part_in_verification(tmp_path: Path) -> None:
    """Every backend is warmed up first; a command's no refuses the switch."""
    policy = VerifyPolicy(
        calls=(python("raise SystemExit(1)"),), warm_up=WarmUp("/warm", requests=3)
    )
    async with control_plane(tmp_path, verify=policy) as (plane, _, green):
        green.requests.clear()
        with pytest.raises(Refused, match="script at command: exit status 1"):
            await switch(plane)
        warm = [line for line, _ in green.requests if "/warm" in line]
        assert len(warm) == 3
        report = await plane.coordinator.verify("default", None, "ann")
        assert [check["kind"] for check in report["checks"]] == ["health", "command"]


async def test_warm_up_ends_in_time(tmp_path: Path) -> None:
    """A backend that does not answer holds the switch up no longer than that."""
    policy = VerifyPolicy(warm_up=WarmUp("/warm", requests=1000, seconds=0.05))
    async with control_plane(tmp_path, verify=policy) as (plane, _, green):
        green.gate.clear()
        async with asyncio.timeout(5):
            assert (await switch(plane))["generation"] == 2
        green.gate.set()
