"""The configured checks against every backend of an environment; every failure is reported."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from bgproxy.controlplane.calls import Caller
from bgproxy.controlplane.entries import BackendEntry, EnvironmentEntry, ServiceEntry
from bgproxy.controlplane.exchange import Answer, Exchanger, NoAnswerError
from bgproxy.controlplane.json_path import ABSENT, find
from bgproxy.controlplane.probes import show_status
from bgproxy.domain.model import Expectation, HttpCheck

_AT_ONCE = 16


class Verifier:
    """Runs checks; `close` in the end.

    Args:
        caller: makes the calls that take part.
    """

    def __init__(self, caller: Caller) -> None:
        self._exchanger = Exchanger()
        self._caller = caller

    async def run(
        self, service: ServiceEntry, environment: EnvironmentEntry, key: str
    ) -> list[dict[str, Any]]:
        """Warm every address up, run every check against every address, then ask the calls.

        Args:
            key: names this occasion for the calls.

        Returns:
            One entry for each check and address and one for each call, ready for JSON: ``name``,
            ``kind``, ``backend``, ``address``, ``passed``, ``attempts``, ``failures`` (what was
            wrong, each time).
        """
        policy = service.settings.verify
        await asyncio.gather(*(self._warm_up(service, entry) for entry in environment.entries))
        checks = await self.run_checks(service, environment)
        document = {
            "service": service.name,
            "moment": "verify",
            "to": str(environment.color),
            "release": environment.release,
            "backends": [backend.url for backend in environment.backends],
        }
        calls = await self._caller.run(policy.calls, document, key)
        return checks + [call | {"backend": None, "address": None} for call in calls]

    async def _warm_up(self, service: ServiceEntry, entry: BackendEntry) -> None:
        """Answers, slow ones and none are all the same here."""
        policy = service.settings.verify.warm_up
        host = service.settings.plain_host or entry.backend.authority
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(policy.seconds if policy.requests else None):
                for _ in range(policy.requests):
                    with contextlib.suppress(NoAnswerError):
                        await self._exchanger.ask(
                            entry.place, policy.path, host=host, timeout=policy.seconds
                        )

    async def run_checks(
        self, service: ServiceEntry, environment: EnvironmentEntry
    ) -> list[dict[str, Any]]:
        """Run the HTTP checks alone, `_AT_ONCE` at a time."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def check_one(check: HttpCheck, entry: BackendEntry) -> dict[str, Any]:
            async with limit:
                return await self._check(check, entry, service.settings.plain_host)

        return await asyncio.gather(
            *(
                check_one(check, entry)
                for check in service.settings.verify.checks
                for entry in environment.entries
            )
        )

    async def _check(
        self, check: HttpCheck, entry: BackendEntry, plain_host: str
    ) -> dict[str, Any]:
        failures: list[str] = []
        slowest = 0.0
        for _ in range(check.repeats):
            try:
                answer = await self._exchanger.ask(
                    entry.place,
                    check.path,
                    host=plain_host or entry.backend.authority,
                    timeout=check.timeout,
                    method=check.method,
                    headers=check.headers,
                    body=check.body.encode(),
                )
            except NoAnswerError as error:
                failures.append(str(error))
                continue
            slowest = max(slowest, answer.seconds)
            if faults := what_is_wrong(answer, check.expect):
                failures.append("; ".join(faults))
        return {
            "name": check.name,
            "kind": "http",
            "backend": entry.backend.url,
            "address": str(entry.place),
            "passed": len(failures) <= check.allowed_failures,
            "attempts": check.repeats,
            "failures": failures,
            "slowest": round(slowest, 4),
        }

    async def close(self) -> None:
        """Send nothing any more."""
        await self._exchanger.close()


def what_is_wrong(answer: Answer, expect: Expectation) -> list[str]:
    """Everything in which an answer is not as expected; empty when it is."""
    faults = []
    if not any(least <= answer.status <= most for least, most in expect.status):
        faults.append(f"the status is {show_status(answer.status, answer.phrase)}")
    for name, pattern in expect.headers:
        value = answer.headers.get(name)
        if value is None:
            faults.append(f"there is no {name}")
        elif not re.search(pattern, value):
            faults.append(f"{name} is {value!r}, which does not match {pattern!r}")
    text = answer.body.decode("utf-8", "replace")
    if expect.body and expect.body not in text:
        faults.append(f"the body lacks {expect.body!r}")
    if expect.body_regex and not re.search(expect.body_regex, text):
        faults.append(f"the body does not match {expect.body_regex!r}")
    if expect.json:
        faults += _wrong_json(text, expect)
    if expect.max_latency and answer.seconds > expect.max_latency:
        faults.append(f"it took {answer.seconds:.3f} s, more than {expect.max_latency:g} s")
    return faults


def _wrong_json(text: str, expect: Expectation) -> list[str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ["the body is not JSON"]
    faults = []
    for path, wanted in expect.json:
        found = find(document, path)
        if found is ABSENT:
            faults.append(f"there is no {path} in the JSON")
        elif found != wanted or isinstance(found, bool) is not isinstance(wanted, bool):
            faults.append(f"{path} is {json.dumps(found)[:200]}, not {json.dumps(wanted)}")
    return faults
