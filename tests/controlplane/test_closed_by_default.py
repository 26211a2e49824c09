"""The closed doors of the admin API, tried with bytes that no client library would send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from bgproxy.config.settings import Role
from tests.admin_double import TOKENS, Admin, tokens

SWITCH = b"POST /v1/services/default/switch HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
BEARER = b"Authorization: Bearer %b\r\n" % TOKENS[Role.ADMIN].encode()
JSON = b"Content-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin(tokens=tokens()) as running:
        yield running


async def _send(admin: Admin, raw: bytes) -> tuple[int, bytes]:
    """The first answer's status, and everything that came."""
    port = int(admin.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


def _body(**members: Any) -> bytes:
    raw = json.dumps(members).encode()
    return JSON + b"Content-Length: %d\r\n\r\n" % len(raw) + raw


async def test_the_way_it_should_be_asked(admin: Admin) -> None:
    """What the others differ from."""
    status, _ = await _send(admin, SWITCH + HOST + BEARER + CLOSE + _body(to="green"))
    assert status == 200
    assert len(admin.operations.calls) == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # tokens
        (SWITCH + HOST + CLOSE + b"\r\n", 401),
        (SWITCH + HOST + CLOSE + b"Authorization: \r\n\r\n", 401),
        (SWITCH + HOST + CLOSE + b"Authorization: Bearer\r\n\r\n", 401),
        (SWITCH + HOST + CLOSE + b"Authorization: Bearer " + b"x" * 7000 + b"\r\n\r\n", 401),
        (SWITCH + HOST + CLOSE + b"Authorization: Bearer \xff\xfe\r\n\r\n", 401),
        (
            SWITCH + HOST + CLOSE + b"Cookie: token=" + TOKENS[Role.ADMIN].encode() + b"\r\n\r\n",
            401,
        ),
        (
            SWITCH.replace(b"switch", b"switch?token=" + TOKENS[Role.ADMIN].encode())
            + HOST
            + CLOSE
            + b"\r\n",
            401,
        ),
        # names
        (SWITCH + BEARER + CLOSE + b"\r\n", 400),
        (SWITCH.replace(b"1.1", b"1.0") + BEARER + b"\r\n", 421),
        (SWITCH + b"Host: evil.example\r\n" + BEARER + CLOSE + b"\r\n", 421),
        (SWITCH + b"Host: localhost.evil.example\r\n" + BEARER + CLOSE + b"\r\n", 421),
        (SWITCH + b"Host: evil.example#localhost\r\n" + BEARER + CLOSE + b"\r\n", 421),
        (SWITCH + b"Host: \r\n" + BEARER + CLOSE + b"\r\n", 421),
        (SWITCH + b"Host: evil.example\r\n" + HOST + BEARER + CLOSE + b"\r\n", 400),
        # bodies
        (SWITCH + HOST + BEARER + CLOSE + b"Content-Length: 2\r\n\r\n{}", 415),
        (
            SWITCH
            + HOST
            + BEARER
            + CLOSE
            + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
            415,
        ),
        (
            SWITCH + HOST + BEARER + CLOSE + JSON + b"Content-Length: 70000\r\n\r\n" + b" " * 70000,
            413,
        ),
        # framing that two readers could read differently
        (
            SWITCH
            + HOST
            + BEARER
            + JSON
            + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (SWITCH + HOST + BEARER + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400),
        (SWITCH + HOST + BEARER + b" X: folded\r\n\r\n", 400),
        # pages of other sites
        (SWITCH + HOST + BEARER + CLOSE + b"Sec-Fetch-Site: cross-site\r\n" + _body(), 403),
        (SWITCH + HOST + BEARER + CLOSE + b"Origin: http://evil.example\r\n" + _body(), 403),
        (SWITCH + HOST + BEARER + CLOSE + b"Origin: null\r\n" + _body(), 403),
        # methods
        (SWITCH.replace(b"POST", b"GET") + HOST + BEARER + CLOSE + b"\r\n", 405),
        (SWITCH.replace(b"POST", b"TRACE") + HOST + BEARER + CLOSE + b"\r\n", 405),
    ],
)
async def test_other_ways_are_closed(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, request_: bytes, status: int
) -> None:
    """Nothing is done, nobody else is asked, and no answer invites a page of another site."""

    def ask_dns(*_: object) -> str:
        raise AssertionError("the supervisor must wait for nobody")

    monkeypatch.setattr(socket, "getfqdn", ask_dns)
    found, answer = await _send(admin, request_)
    assert found == status, answer
    assert admin.operations.calls == []
    assert b"access-control-allow" not in answer.lower()


async def test_preflights_are_not_granted(admin: Admin) -> None:
    """A page of another site cannot send the token's field, either."""
    status, answer = await _send(
        admin,
        b"OPTIONS /v1/services/default/switch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    )
    assert status == 405
    assert b"access-control-allow" not in answer.lower()


async def test_secrets_are_in_no_answer_and_no_log(admin: Admin) -> None:
    """Neither right tokens nor guesses, whatever goes wrong."""
    guess = "a-guess-that-is-wrong-0123"
    admin.operations.refusal = RuntimeError("it broke")  # type: ignore[assignment]
    with structlog.testing.capture_logs() as logs:
        _, broken = await _send(admin, SWITCH + HOST + BEARER + CLOSE + _body())
        wrong = b"Authorization: Bearer %b\r\n" % guess.encode()
        refused = b""
        for _ in range(21):
            _, refused = await _send(admin, SWITCH + HOST + wrong + CLOSE + _body())
    assert b" 500 " in broken
    assert b" 429 " in refused
    told = json.dumps(logs, default=str) + (broken + refused).decode()
    assert logs
    assert guess not in told
    assert not any(token in told for token in TOKENS.values())
