"""Makes the calls that `bgproxy.domain.hooks` describes and reports how each ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bgproxy.controlplane.late import LateModule
from bgproxy.controlplane.probes import show_status
from bgproxy.domain.hooks import (
    Call,
    CommandCall,
    WebhookCall,
    is_worth_retrying,
    retry_pause,
    sign,
)

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = LateModule("aiohttp")

_MOST_OUTPUT = 4096
"""Bytes of a command's output that are kept; the last ones, where errors stand."""

_ENVIRONMENT = ("service", "moment", "from", "to", "release", "deployment", "generation", "actor")


class Caller:
    """Makes calls; `close` in the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def run(
        self, calls: Iterable[Call], document: Mapping[str, Any], key: str
    ) -> list[dict[str, Any]]:
        """Make calls one after the other, all of them whatever the others say.

        Args:
            document: what they are told.
            key: names this occasion; a webhook that is sent again carries the same.

        Returns:
            For each ``name``, ``kind``, ``passed``, ``attempts``, ``failures``, ``seconds``, and
            ``output`` of a command.
        """
        reports = []
        for call in calls:
            began = time.monotonic()
            if isinstance(call, CommandCall):
                report = await _run_command(call, document)
            else:
                report = await self._post(call, document, f"{key}-{call.name}")
            report["seconds"] = round(time.monotonic() - began, 3)
            reports.append(report)
        return reports

    async def _post(
        self, call: WebhookCall, document: Mapping[str, Any], key: str
    ) -> dict[str, Any]:
        body = json.dumps(document).encode()
        failures: list[str] = []
        for attempt in range(1, call.attempts + 1):
            status, said = await self._post_once(call, body, key)
            if 200 <= status <= 299:
                return _report(call.name, "webhook", attempt, failures, has_passed=True)
            failures.append(said)
            if attempt == call.attempts or (status and not is_worth_retrying(status)):
                break
            await asyncio.sleep(retry_pause(attempt))
        return _report(call.name, "webhook", len(failures), failures, has_passed=False)

    async def _post_once(self, call: WebhookCall, body: bytes, key: str) -> tuple[int, str]:
        """The status, 0 for no answer; and what to say about it."""
        fields = {
            "Content-Type": "application/json",
            "User-Agent": "bgproxy",
            "Idempotency-Key": key,
        }
        if call.secret:
            fields["X-BGProxy-Signature"] = sign(call.secret, int(time.time()), body)
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(call.timeout),
                self._session.post(
                    call.url, data=body, headers=fields, allow_redirects=False
                ) as answer,
            ):
                return answer.status, f"answered {show_status(answer.status, answer.reason or '')}"
        except TimeoutError:
            return 0, f"no answer within {call.timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, str(error) or type(error).__name__

    async def close(self) -> None:
        """Make no more calls."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _run_command(call: CommandCall, document: Mapping[str, Any]) -> dict[str, Any]:
    try:
        process = await asyncio.create_subprocess_exec(
            *call.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | _variables(document),
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except OSError as error:
        failure = f"cannot run {call.argv[0]}: {error.strerror or error}"
        return _report(call.name, "command", 1, [failure], has_passed=False)
    failures = []
    output = bytearray()
    status = 0
    try:
        async with asyncio.timeout(call.timeout):
            await talk(process, json.dumps(document).encode(), output)
            status = await process.wait()
    except TimeoutError:
        failures.append(f"it took longer than {call.timeout:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
    if status and not failures:
        failures.append(f"exit status {status}" if status > 0 else f"killed by signal {-status}")
    report = _report(call.name, "command", 1, failures, has_passed=not failures)
    return report | {"output": output.decode("utf-8", "replace")}


async def talk(process: asyncio.subprocess.Process, said: bytes, output: bytearray) -> None:
    """Hand a command its input and keep the end of what it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    # It need not read what it is told, and may be gone already, of which uvloop's pipe makes an
    # error that is none of the network's.
    if not process.stdin.is_closing():
        with contextlib.suppress(ConnectionError):
            process.stdin.write(said)
            await process.stdin.drain()
    process.stdin.close()
    while piece := await process.stdout.read(_MOST_OUTPUT):
        output += piece
        del output[:-_MOST_OUTPUT]


def _variables(document: Mapping[str, Any]) -> dict[str, str]:
    """The main facts as environment variables, free of what an environment cannot hold."""
    return {
        f"BGPROXY_{name.upper()}": str(document[name]).replace("\0", "")
        for name in _ENVIRONMENT
        if document.get(name) is not None
    }


def _report(
    name: str, kind: str, attempts: int, failures: list[str], *, has_passed: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "passed": has_passed,
        "attempts": attempts,
        "failures": failures,
    }
