"""Previews over real sockets: who gets to the idle environment, who never does, what it leaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bgproxy.domain.model import Color, ServiceLimits
from bgproxy.domain.outcome import Reason
from bgproxy.domain.preview import Key, Preview, PreviewCookie, Purpose, sign
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.table import Closure
from tests.dataplane.harness import (
    PATIENCE,
    Backend,
    Handler,
    Proxy,
    answering,
    backend_route,
    echoing,
    read_head,
    running,
    table_of,
)
from tests.ports import free_port

SECRET = "0123456789abcdef0123456789abcdef"
HEADER = Preview(header=("X-Preview", SECRET))
KEY = b"X-Preview: %b\r\n" % SECRET.encode()
COOKIE = Preview(cookie=PreviewCookie(SECRET))
LINK = b"/.well-known/bgproxy-preview"
LISTENER = "127.0.0.1:8082"


class Pair:
    """A proxy with a blue and a green backend; blue is active."""

    def __init__(self, proxy: Proxy, blue: Backend, green: Backend) -> None:
        self.proxy = proxy
        self.blue = blue
        self.green = green

    async def get(
        self, fields: bytes = b"", target: bytes = b"/", host: bytes = b"shop.example.com"
    ) -> bytes:
        """The answer to a GET."""
        return await self.proxy.talk(
            b"GET %b HTTP/1.1\r\nHost: %b\r\n%bConnection: close\r\n\r\n" % (target, host, fields)
        )

    def previews(self, color: Color = Color.GREEN) -> dict[int, int]:
        """Previews by the status answered."""
        return self.proxy.ledger.previews(0, color).codes


@contextlib.asynccontextmanager
async def preview(
    policy: Preview | None,
    *,
    blue: Handler | None = None,
    green: Handler | None = None,
    entrances: tuple[EntranceRoute, ...] = (),
    **service: Any,
) -> AsyncIterator[Pair]:
    """Both environments behind one worker."""
    one = await Backend(blue or echoing(b"blue")).start()
    two = await Backend(green or echoing(b"green")).start()
    table = table_of([one.port], [two.port], preview=policy, **service)
    async with running(table, entrances=entrances) as proxy:
        yield Pair(proxy, one, two)


def status(answer: bytes) -> int:
    return int(answer[9:12])


def backend(answer: bytes) -> str:
    """Who answered; empty if it was the proxy."""
    found = re.search(rb"X-Backend: (\w+)", answer.partition(b"\r\n\r\n")[0])
    return found[1].decode() if found else ""


def fields(answer: bytes, name: bytes) -> list[bytes]:
    """Every value of a field of an answer."""
    return re.findall(rb"(?i)\r\n%b: ([^\r]*)" % name, answer.partition(b"\r\n\r\n")[0])


def seen(answer: bytes) -> bytes:
    """The request as an echoing backend got it."""
    return answer.partition(b"\r\n\r\n")[2]


def basic(user: str, password: str) -> bytes:
    token = base64.b64encode(f"{user}:{password}".encode())
    return b"Authorization: Basic %b\r\n" % token


def cookie(value: str, name: str = "bgproxy_preview") -> bytes:
    return f"Cookie: {name}={value}\r\n".encode()


def token(purpose: Purpose, seconds: float = 60.0, service: str = "default") -> str:
    return sign(SECRET, service, purpose, time.time() + seconds)


# -- ways in --------------------------------------------------------------------------------------


async def test_a_secret_header_leads_to_the_idle_side_and_goes_no_further() -> None:
    """The backend is told that it is a preview, and not by which key."""
    async with preview(HEADER) as pair:
        answer = await pair.get(b"A: 1\r\n" + KEY + b"B: 2\r\n")
        assert backend(answer) == "green"
        assert fields(answer, b"X-BGProxy-Environment") == [b"green"]
        assert fields(answer, b"Cache-Control") == [b"private, no-store"]
        assert fields(answer, b"Vary") == [b"X-Preview"]
        assert b"\r\nA: 1\r\nB: 2\r\n" in seen(answer)
        assert b"\r\nX-BGProxy-Preview: 1\r\n" in seen(answer)
        assert SECRET.encode() not in seen(answer)
        answer = await pair.get()
        assert backend(answer) == "blue"
        assert fields(answer, b"X-BGProxy-Environment") == fields(answer, b"Vary") == []
        assert b"X-BGProxy-Preview" not in seen(answer)


async def test_preview_means_the_idle_role_and_never_a_color() -> None:
    """The same key shows the other environment as soon as the pointer has moved."""
    async with preview(HEADER) as pair:
        for active, idle in (("blue", "green"), ("green", "blue"), ("blue", "green")):
            await pair.proxy.switch(Color(active))
            answer = await pair.get(KEY)
            assert backend(answer) == idle
            assert fields(answer, b"X-BGProxy-Environment") == [idle.encode()]
            assert backend(await pair.get()) == active


async def test_a_link_sets_a_cookie_and_the_cookie_leads_to_the_idle_side() -> None:
    """It is signed, kept from scripts, and taken out of what the backend sees."""
    async with preview(COOKIE) as pair:
        good = token(Purpose.LINK).encode()
        answer = await pair.get(target=LINK + b"?token=%b&to=/cart%%3Fa=1" % good)
        assert status(answer) == 303
        assert fields(answer, b"Location") == [b"/cart?a=1"]
        (line,) = fields(answer, b"Set-Cookie")
        value, attributes = line.decode().split("; ", 1)
        assert attributes == "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"
        assert SECRET not in value
        answer = await pair.get(f"Cookie: a=1; {value}; b=2\r\n".encode())
        assert backend(answer) == "green"
        assert fields(answer, b"Vary") == [b"Cookie"]
        assert b"\r\nCookie: a=1; b=2\r\n" in seen(answer)
        answer = await pair.get(f"Cookie: {value}\r\n".encode())
        assert b"cookie" not in seen(answer).lower()


async def test_a_link_without_token_takes_the_cookie_back() -> None:
    """Who has seen enough goes back to what everybody sees."""
    async with preview(COOKIE) as pair:
        answer = await pair.get(cookie(token(Purpose.COOKIE)), target=LINK)
        assert (status(answer), fields(answer, b"Location")) == (303, [b"/"])
        assert fields(answer, b"Set-Cookie")[0].startswith(b"bgproxy_preview=; Path=/; Max-Age=0;")


@pytest.mark.parametrize(
    "to",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/%0d%0aSet-Cookie: a=1", ""],
)
async def test_a_link_leads_nowhere_else(to: str) -> None:
    """What stands behind `to` is a path of this host, or it is ignored."""
    async with preview(COOKIE) as pair:
        good = token(Purpose.LINK)
        answer = await pair.get(
            target=f"{LINK.decode()}?token={good}&to={to}".replace(" ", "%20").encode()
        )
        (location,) = fields(answer, b"Location")
        assert re.fullmatch(rb"/([^/\\].*)?", location)
        assert len(fields(answer, b"Set-Cookie")) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense",
        token(Purpose.COOKIE),
        token(Purpose.LINK, service="other"),
        token(Purpose.LINK, seconds=-1),
        sign("another secret, quite as long as ours", "default", Purpose.LINK, time.time() + 60),
    ],
    ids=["nonsense", "a cookie", "another service", "too old", "another secret"],
)
async def test_a_link_that_is_not_good_sets_nothing(bad: str) -> None:
    """It is refused, and no environment sees it."""
    async with preview(COOKIE) as pair:
        answer = await pair.get(target=f"{LINK.decode()}?token={bad}".encode())
        assert status(answer) == 403
        assert fields(answer, b"Set-Cookie") == []
        assert pair.blue.received == pair.green.received == []


async def test_cookies_over_tls_are_for_tls_only() -> None:
    """Where a trusted proxy says that the client speaks TLS to it."""
    table = table_of([free_port()], [free_port()], preview=COOKIE, trusted_proxies=("127.0.0.1",))
    async with running(table) as proxy:
        answer = await proxy.talk(
            b"GET %b?token=%b HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n"
            % (LINK, token(Purpose.LINK).encode())
        )
    assert fields(answer, b"Set-Cookie")[0].endswith(b"; SameSite=Lax; Secure")


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/", b"green.example.com"),
        (b"/", b"GREEN.example.COM.:8080"),
        (b"http://Green.Example.com/a", b"shop.example.com"),
    ],
)
async def test_a_host_name_leads_to_the_idle_side(target: bytes, host: bytes) -> None:
    """However it is spelled; a target that names the host counts before Host does."""
    policy = Preview(hosts=("green.example.com",), networks=("127.0.0.0/8",))
    async with preview(policy, hosts=("shop.example.com",)) as pair:
        assert backend(await pair.get(target=target, host=host)) == "green"
        assert backend(await pair.get()) == "blue"


async def test_a_host_of_the_preview_is_never_served_live() -> None:
    """Who may not see the idle side is refused there, and not shown the other for it."""
    policy = Preview(hosts=("green.example.com",), networks=("10.0.0.0/8",))
    async with preview(policy) as pair:
        answer = await pair.get(host=b"green.example.com")
        assert status(answer) == 403
        assert pair.blue.received == pair.green.received == []


async def test_a_listener_of_its_own_leads_to_the_idle_side() -> None:
    """Whatever host is asked for there; nothing else than the preview is behind it."""
    policy = Preview(listen=(LISTENER,))
    entrances = (EntranceRoute(), EntranceRoute(preview=LISTENER))
    async with preview(policy, entrances=entrances, hosts=("shop.example.com",)) as pair:
        assert backend(await pair.get()) == "blue"
        pair.proxy.port = pair.proxy.ports[1]
        for host in (b"shop.example.com", b"127.0.0.1:8082", b"other.example"):
            answer = await pair.get(host=host)
            assert backend(answer) == "green"
            assert fields(answer, b"Vary") == [b"*"]
        await pair.proxy.change(preview=None)
        assert status(await pair.get()) == 404, "it is nobody's listener now"


async def test_users_are_asked_for_their_password() -> None:
    """By the browser; the password is not passed on."""
    policy = Preview(hosts=("green.example.com",), users=(("eve", SECRET), ("bob", "x" * 20)))
    async with preview(policy) as pair:
        host = b"green.example.com"
        wrong = (b"", basic("eve", "x" * 20), basic("eva", SECRET), b"Authorization: Basic ???\r\n")
        for given in (*wrong, basic("eve", SECRET) * 2, b"Authorization: Bearer x\r\n"):
            answer = await pair.get(given, host=host)
            assert status(answer) == 401
            assert fields(answer, b"WWW-Authenticate")[0].startswith(b'Basic realm="preview of ')
        answer = await pair.get(basic("eve", SECRET), host=host)
        assert backend(answer) == "green"
        assert fields(answer, b"Vary") == [b"Authorization"]
        assert b"authorization" not in seen(answer).lower()
        answer = await pair.get(b"Authorization: Bearer x\r\n")
        assert backend(answer) == "blue"
        assert b"\r\nAuthorization: Bearer x\r\n" in seen(answer), "it is the backend's"


async def test_all_keys_of_a_way_are_needed() -> None:
    """One of two is none; it does not get to the live backend either."""
    policy = replace(HEADER, cookie=PreviewCookie(SECRET), ways=(Key.HEADER | Key.COOKIE,))
    both = KEY + cookie(token(Purpose.COOKIE))
    async with preview(policy) as pair:
        for one in (KEY, cookie(token(Purpose.COOKIE))):
            answer = await pair.get(one)
            assert backend(answer) == "blue"
            assert b"Preview" not in seen(answer)
            assert b"Cookie" not in seen(answer)
        assert backend(await pair.get(both)) == "green"


async def test_networks_go_by_the_client_and_not_by_the_load_balancer() -> None:
    """An address behind a trusted proxy counts; that proxy's own opens nothing for its clients."""
    policy = Preview(networks=("10.0.0.0/8", "127.0.0.0/8"))
    one = await Backend(echoing(b"blue")).start()
    two = await Backend(echoing(b"green")).start()
    table = table_of([one.port], [two.port], preview=policy, trusted_proxies=("127.0.0.1",))
    async with running(table) as proxy:
        pair = Pair(proxy, one, two)
        assert backend(await pair.get(b"X-Forwarded-For: 10.1.2.3\r\n")) == "green"
        assert backend(await pair.get(b"X-Forwarded-For: 10.1.2.3, 192.0.2.1\r\n")) == "blue"
        assert backend(await pair.get(b"X-Forwarded-For: 127.0.0.1\r\n")) == "blue"
        assert backend(await pair.get(b"X-Forwarded-For: nonsense\r\n")) == "blue"
        assert backend(await pair.get()) == "blue"


# -- who has no key -------------------------------------------------------------------------------

_HOSTILE = [
    b"X-Preview: \r\n",
    b"X-Preview: 1\r\n",
    b"X-Preview: %b0\r\n" % SECRET.encode(),
    b"X-Preview: %b\r\n" % SECRET.upper().encode(),
    b'X-Preview: "%b"\r\n' % SECRET.encode(),
    b"X-Preview: %b, %b\r\n" % (SECRET.encode(), SECRET.encode()),
    KEY + KEY,
    KEY + b"x-preview: no\r\n",
    b"x-PREVIEW: no\r\n" + KEY,
    b"X_Preview: %b\r\n" % SECRET.encode(),
    b"XX-Preview: %b\r\n" % SECRET.encode(),
    b"Y: X-Preview: %b\r\n" % SECRET.encode(),
    b"Connection: X-Preview\r\nX-Preview: no\r\n",
    b"X-BGProxy-Preview: 1\r\n",
    b"x-bgproxy-PREVIEW: 1\r\nX_BGProxy_Preview: 1\r\n",
    b"X-BGProxy-Environment: green\r\n",
    cookie("1"),
    cookie(token(Purpose.LINK)),
    cookie(token(Purpose.COOKIE, service="other")),
    cookie(token(Purpose.COOKIE, seconds=-1)),
    cookie("9" * 12 + "." + "0" * 64),
    cookie(token(Purpose.COOKIE), name="BGPROXY_PREVIEW"),
    cookie(token(Purpose.COOKIE), name="x_bgproxy_preview"),
    b"Cookie: a=bgproxy_preview=%b\r\n" % token(Purpose.COOKIE).encode(),
    b"X-Cookie: bgproxy_preview=%b\r\n" % token(Purpose.COOKIE).encode(),
    b"Cookie: " + b"bgproxy_preview=x; " * 8 + b"bgproxy_preview=y\r\n",
    basic("eve", SECRET),
    b"X-Forwarded-Host: green.example.com\r\nForwarded: host=green.example.com\r\n",
    b"X-Forwarded-For: 10.1.1.1\r\nX-Real-IP: 10.1.1.1\r\n",
    b"X-Original-Host: green.example.com\r\n",
]


async def test_nobody_without_a_key_gets_to_the_idle_side() -> None:
    """Wrong, doubled, misspelled, borrowed or made up: the live side answers, and is not fooled."""
    policy = replace(
        HEADER,
        cookie=PreviewCookie(SECRET),
        hosts=("green.example.com",),
        users=(("eve", SECRET),),
        networks=("10.0.0.0/8",),
        ways=(
            Key.HEADER,
            Key.COOKIE,
            Key.HOST | Key.USER,
            Key.HOST | Key.NETWORK,
            Key.USER | Key.NETWORK,
        ),
    )
    async with preview(policy) as pair:
        for hostile in _HOSTILE:
            answer = await pair.get(hostile)
            assert backend(answer) == "blue", hostile
            told = re.search(rb"(?i)\r\n(x.bgproxy.preview|x-preview):", seen(answer))
            assert not told, hostile
        for target in (b"http://shop.example.com/", b"//green.example.com/", b"/?X-Preview=1"):
            assert backend(await pair.get(target=target, host=b"shop.example.com")) == "blue"
        for host in (b"green.example.com", b"shop.example.com"):
            answer = await pair.get(target=b"http://GREEN.example.com:81/", host=host)
            assert status(answer) == 401
        twice = await pair.get(b"Host: green.example.com\r\n")
        assert status(twice) == 400
        assert pair.green.received == []
        assert backend(await pair.get(KEY)) == "green", "the keys do work"


async def test_the_backend_is_never_told_by_a_client() -> None:
    """Without any preview configured the word is the proxy's all the same."""
    async with preview(None) as pair:
        answer = await pair.get(b"x-bgproxy-preview: 1\r\nX-Preview: 1\r\n")
        assert backend(answer) == "blue"
        assert b"bgproxy-preview" not in seen(answer).lower()
        assert b"\r\nX-Preview: 1\r\n" in seen(answer)


async def test_a_trailer_is_neither_a_key_nor_a_word_of_ours() -> None:
    """What comes after a body is too late to lead anywhere, and is told to nobody."""

    async def blue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        body = await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nX-Backend: blue\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    async with preview(HEADER, blue=blue) as pair:
        trailers = b"X-BGProxy-Preview: 1\r\nx-bgproxy-preview: 1\r\nX-Sum: 7\r\n"
        answer = await pair.proxy.talk(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: X-BGProxy-Preview\r\nConnection: close\r\n\r\n"
            b"3\r\nabc\r\n0\r\n" + trailers + KEY + b"\r\n"
        )
        assert backend(answer) == "blue"
        assert seen(answer).startswith(b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n")
        assert b"bgproxy-preview" not in seen(answer).lower()
        assert pair.green.received == []


async def test_a_key_is_good_for_its_own_request_only() -> None:
    """On one client connection previews and others follow each other, bodies and all."""
    one = b"POST /%d HTTP/1.1\r\nHost: x\r\n%bContent-Length: 3\r\n\r\nabc"
    async with preview(HEADER) as pair:
        requests = b"".join(one % (n, KEY if n % 2 else b"") for n in range(20))
        answer = await pair.proxy.talk(requests + b"GET / HTTP/1.0\r\n\r\n")
    names = re.findall(rb"X-Backend: (\w+)", answer)
    assert names == [b"blue", b"green"] * 10 + [b"blue"]
    assert answer.count(b"\r\nX-BGProxy-Environment: green\r\n") == 10


async def test_a_key_that_is_taken_away_opens_nothing() -> None:
    """With the next table, on connections that are open, too."""
    async with preview(HEADER) as pair:
        reader, writer = await pair.proxy.connect()
        for policy, name in ((HEADER, b"green"), (None, b"blue")):
            await pair.proxy.change(preview=policy)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % KEY)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"X-Backend: %b\r\n" % name in head
            await reader.readexactly(int(fields(head, b"Content-Length")[0]))
        writer.close()


# -- nothing there --------------------------------------------------------------------------------


async def test_an_idle_side_that_is_not_healthy_is_said_to_be() -> None:
    """503 with the reason, although the live side would answer, and traffic would be tried on."""
    async with preview(HEADER) as pair:
        routes = pair.proxy.table.services[0].environments
        down = (backend_route(1, pair.green.port, is_ready=False),)
        for green in (down, ()):
            await pair.proxy.change(environments=(routes[0], green))
            answer = await pair.get(KEY + b"Accept: application/json\r\n")
            assert status(answer) == 503
            assert json.loads(seen(answer))["reason"] == "preview_unavailable"
            assert fields(answer, b"X-BGProxy-Environment") == [b"green"]
            assert fields(answer, b"Cache-Control") == [b"private, no-store"]
        assert pair.previews() == {503: 2}
        assert pair.blue.received == pair.green.received == []
        assert backend(await pair.get()) == "blue"


async def test_an_idle_side_that_does_not_accept_is_never_stood_in_for() -> None:
    """The failure is its own, and told as one."""
    async with preview(HEADER) as pair:
        routes = pair.proxy.table.services[0].environments
        gone = (backend_route(1, free_port()),)
        await pair.proxy.change(environments=(routes[0], gone))
        answer = await pair.get(KEY)
        assert status(answer) == 502
        assert fields(answer, b"X-BGProxy-Environment") == [b"green"]
        assert pair.blue.received == []


async def test_a_full_idle_side_makes_nobody_wait() -> None:
    """Previews have no queue: the one of the service is for its users."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    limits = ServiceLimits(max_in_flight=1)
    async with preview(HEADER, green=slow, limits=limits) as pair:
        first = asyncio.ensure_future(pair.get(KEY))
        await pair.green.until(lambda: bool(pair.green.received))
        second = await pair.get(KEY)
        release.set()
        assert status(second) == 503
        assert b"overloaded" in second
        assert status(await first) == 200


async def test_previews_go_on_while_the_service_is_paused() -> None:
    """A pause holds the public's requests; who looks at the idle side is not held."""
    async with preview(HEADER) as pair:
        await pair.proxy.change(held_until=time.monotonic() + 60)
        assert backend(await pair.get(KEY)) == "green"
        await pair.proxy.change(held_until=0.0)


async def test_maintenance_is_for_the_public_and_not_for_testers() -> None:
    """Who holds a key sees the idle side meanwhile; who holds none is told what everybody is."""
    async with preview(HEADER) as pair:
        await pair.proxy.change(closure=Closure("Back soon.", (), "/healthz"))
        assert status(await pair.get()) == 503
        assert status(await pair.get(b"X-Preview: 1\r\n")) == 503
        assert backend(await pair.get(KEY)) == "green"
        assert pair.blue.received == []


# -- what it leaves -------------------------------------------------------------------------------


async def test_previews_are_counted_apart_and_judged_by_nobody() -> None:
    """Neither the service's counters nor its backends' failures nor its clients' know of them."""
    failing = answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    async with preview(HEADER, green=failing) as pair:
        for _ in range(12):
            assert status(await pair.get(KEY)) == 500
        await pair.get()
        ledger = pair.proxy.ledger
        totals = ledger.previews(0, Color.GREEN)
        assert totals.codes == {500: 12}
        assert totals.reasons == {Reason.SERVER_ERROR: 12}
        green = pair.proxy.totals(Color.GREEN)
        assert (green.codes, green.reasons, green.late) == ({}, {}, 0)
        assert ledger.backend(1).failures == 0
        assert sum(ledger.clients(0, Color.GREEN)) == 0
        assert pair.proxy.totals(Color.BLUE).codes == {200: 1}
        assert pair.previews(Color.BLUE) == {}
        await pair.proxy.until(lambda: sum(ledger.previews(0, Color.GREEN).durations) == 12)
        assert sum(pair.proxy.totals(Color.GREEN).durations) == 0


async def test_failures_of_the_public_are_counted_by_client() -> None:
    """In one slot for one address; excluded paths and successes in none."""
    failing = answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    async with preview(None, blue=failing, exclude_paths=("/probe",)) as pair:
        for target in (b"/", b"/", b"/probe", b"/a"):
            await pair.get(target=target)
        clients = pair.proxy.ledger.clients(0, Color.BLUE)
        assert clients[pair.proxy.ledger.client_slot("127.0.0.1")] == sum(clients) == 3
        await pair.proxy.change(environments=((backend_route(0, free_port()),), ()))
        await pair.get()
        assert sum(pair.proxy.ledger.clients(0, Color.BLUE)) == 4


@pytest.mark.parametrize("began_before", [True, False])
async def test_a_drain_closes_previews_like_other_requests(began_before: bool) -> None:
    """In flight on what was active until now, whether they began on it since or came as users."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.read(1)

    async with preview(HEADER, green=silent) as pair:
        await pair.proxy.switch(Color.GREEN)
        if not began_before:
            await pair.proxy.switch(Color.BLUE)
        waiting = asyncio.ensure_future(pair.get(b"" if began_before else KEY))
        await pair.green.until(lambda: bool(pair.green.received))
        if began_before:
            await pair.proxy.switch(Color.BLUE)
        assert pair.proxy.in_flight() == (1, 0)
        pair.proxy.fleet.close_leftovers(0, Color.GREEN, 2, "requests", 0.0)
        async with asyncio.timeout(PATIENCE):
            assert status(await waiting) == 503
        assert pair.proxy.in_flight() == (0, 0)


async def test_a_preview_ends_where_it_began() -> None:
    """The pointer moves while it is under way: it goes on, and the drain of the other side too."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nX-Backend: green\r\nContent-Length: 0\r\n\r\n")

    async with preview(HEADER, green=slow) as pair:
        waiting = asyncio.ensure_future(pair.get(KEY))
        await pair.green.until(lambda: bool(pair.green.received))
        await pair.proxy.switch(Color.GREEN)
        pair.proxy.fleet.close_leftovers(0, Color.BLUE, 1, "requests", 0.0)
        await pair.proxy.fleet.quiesce()
        release.set()
        answer = await waiting
        assert backend(answer) == "green"
        assert pair.previews() == {200: 1}
        assert pair.proxy.totals(Color.GREEN).requests == 0


# -- answers --------------------------------------------------------------------------------------

_CACHEABLE = (
    b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=9\r\nExpires: 0\r\nVary: A\r\n"
    b"CDN-Cache-Control: max-age=9\r\nX-BGProxy-Environment: blue\r\nContent-Length: 2\r\n\r\nok"
)
_CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncache-control: public\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("sent", [_CACHEABLE, _CHUNKED], ids=["length", "chunked"])
async def test_no_cache_keeps_a_preview_for_others(sent: bytes, version: bytes) -> None:
    """What a backend says about caching, or about where it is, does not get through."""
    async with preview(HEADER, green=answering(sent)) as pair:
        answer = await pair.proxy.talk(
            b"GET / HTTP/%b\r\nHost: x\r\n%bConnection: close\r\n\r\n" % (version, KEY)
        )
    assert fields(answer, b"Cache-Control") == [b"private, no-store"]
    assert fields(answer, b"X-BGProxy-Environment") == [b"green"]
    assert fields(answer, b"Vary")[-1:] == [b"X-Preview"]
    assert fields(answer, b"Expires") == fields(answer, b"CDN-Cache-Control") == []
    assert b"ok" in seen(answer)


async def test_answers_of_the_active_side_tell_it_where_asked() -> None:
    """Nothing else about them changes: they may be cached as the backend says."""
    policy = replace(HEADER, marks_live=True, environment_header="X-Side")
    sent = b"HTTP/1.1 200 OK\r\nx-side: red\r\nCache-Control: public\r\nContent-Length: 2\r\n\r\nok"
    async with preview(policy, blue=answering(sent)) as pair:
        answer = await pair.get()
        assert fields(answer, b"X-Side") == [b"blue"]
        assert fields(answer, b"Cache-Control") == [b"public"]
        assert fields(await pair.get(KEY), b"X-Side") == [b"green"]


async def test_a_tunnel_is_previewed_as_well() -> None:
    """An upgrade goes to the idle side, and its answer says so."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        writer.write(await reader.readexactly(4))
        await writer.drain()

    async with preview(HEADER, green=upgrade) as pair:
        answer = await pair.proxy.talk(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n%b\r\nping" % KEY
        )
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert fields(answer, b"X-BGProxy-Environment") == [b"green"]
        assert answer.endswith(b"\r\n\r\nping")
        await pair.proxy.until(lambda: pair.previews() == {101: 1})
        assert pair.proxy.totals(Color.GREEN).requests == 0
