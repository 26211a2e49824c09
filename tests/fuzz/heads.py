"""Heads from a grammar and from mutation, held against rules that do not depend on the readers.

Run as ``python -m tests.fuzz.heads 1000000 [SEED]``. For every head, made up or mutated:

- the scanner, where it was built, the reader of plain heads and the reference give the same value
  or the same fault;
- any way of splitting the bytes gives the same again;
- what is accepted obeys `check_request` or `check_response`, written with nothing but a split at
  CRLF, and reads the same when it is read again as it was written.
"""

from __future__ import annotations

import importlib
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

from bgproxy.errors import BadRequest, BadResponse
from bgproxy.protocol import plain, request, response
from bgproxy.protocol.values import (
    CHUNKED,
    UNTIL_CLOSE,
    HeadLimits,
    RequestHead,
    ResponseHead,
)
from tests.protocol.corpus import ODD_REQUESTS, ODD_RESPONSES, REQUESTS, RESPONSES


def _built_scanner() -> ModuleType | None:
    """The compiled scanner, whether it is in use or not; None where it was not built."""
    try:
        return importlib.import_module("bgproxy.protocol._scan")
    except ImportError:
        return None


_scan = _built_scanner()
QUICK_READERS: tuple[Any, ...] = (plain,) if _scan is None else (_scan, plain)

LIMITS = HeadLimits(max_line_bytes=120, max_head_bytes=1200, max_fields=24)
"""Small enough that made-up heads meet them."""

Verdict = RequestHead | ResponseHead | tuple[int, str, str] | None

NAMES = (
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"Upgrade"),
    *(b"TE", b"Trailer", b"Expect", b"Max-Forwards", b"Proxy-Connection", b"Forwarded", b"Via"),
    *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Anything", b"X-Real-IP"),
    *(b"X-Request-Id", b"X-Request-Start", b"X-Requested-With", b"Cookie", b"Accept", b"A"),
    *(b"Content_Length", b"Transfer_Encoding", b"X_Forwarded_For", b"X.Real.IP", b"Ho_st", b"te-"),
    *(b"Connections", b"Hosts", b"Content-Lengths", b"Expected", b"X-Request-Idx", b"Upgrades"),
    *(b"Keep-Alives", b"Content-Type", b"User-Agent", b"Set-Cookie", b"Authorization", b"X-Custom"),
)
VALUES = (
    *(b"", b"x", b"a.example", b"a.example:80", b"[::1]:80", b"a b", b"a@b", b"a:b", b":80"),
    *(b"0", b"5", b"05", b"17", b"5, 5", b"+5", b"0x5", b"5 ", b"-1", b"1_0", b"9" * 18, b"9" * 19),
    *(
        b"1" * 19,
        b"1" * 25,
        b"a:123456",
        b"a, b",
        b"chunked",
        b"Chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked,",
    ),
    *(b"identity", b"xchunked", b"close", b"keep-alive", b"Keep-Alive", b"close, keep-alive"),
    *(b"upgrade", b"Upgrade, TE", b"x-custom", b"X-Custom, close", b"host", b"cookie, a"),
    *(b"trailers", b"trailers, deflate;q=0.5", b"deflate", b"100-continue", b"100-Continue"),
    *(b"websocket", b"h2c", b"\xe9\xff", b"tab\there", b"1.2.3.4", b"1.2.3.4, 5.6.7.8", b"https"),
    *(b"for=1.2.3.4;proto=http", b"timeout=5", b"a" * 40, b"a=b; c=d", b'"q"', b"text/html;q=0.5"),
)
_EVIL = (
    *(
        b"\r",
        b"\n",
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b":",
        b"\x7f",
        b"\x80",
        b"\xff",
    ),
    *(
        b"\x0b",
        b"\x0c",
        b"\x1f",
        b"#",
        b"?",
        b"/",
        b"*",
        b",",
        b"_",
        b"-",
        b"\r\n ",
        b"\r\n\t",
        b" :",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"HTTP/1.1"),
)
_METHODS = (b"GET", b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI")
_ODD_METHODS = (b"get", b"QUERY", b"M-SEARCH", b"G@T", b"", b"GE T", b"X" * 30, b"$%&", b"G\xe9T")
_TARGETS = (b"/", b"/", b"/a/b?c=d&e", b"/%00|^{}", b"*", b"http://a.example/x", b"https://b:1?q")
_ODD_TARGETS = (
    *(b"http://a", b"http://", b"http://u@h/", b"ftp://a/", b"a:80", b"/a#b", b"/\xe9", b"/a b"),
    *(b"", b"//x", b"HTTP://A/", b"/" + b"a" * 110, b"/" + b"a" * 130, b"\\", b"http:///x"),
)
_VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0",) * 2
_ODD_VERSIONS = (
    *(b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/11", b"RTSP/1.0"),
    *(b"", b"HTTP/1.1 ", b"HTTP /1.1", b"HTTP/1,1"),
)
_STATUSES = (b"200 OK", b"200 ", b"204 No Content", b"304 Not Modified", b"404 N\xe9", b"100 C")
_ODD_STATUSES = (
    *(b"200", b"099 x", b"600 x", b"2000 x", b"20 x", b"+20 x", b"101 S", b"103 E", b"426 U"),
    *(b"200\tOK", b" 200 OK", b"200  OK", b"999", b"200 \x01", b"200 O\tK"),
)


class Maker:
    """Makes heads up, most of them nearly right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._seeds = {
            True: [*REQUESTS.values(), *ODD_REQUESTS.values()],
            False: [*RESPONSES.values(), *ODD_RESPONSES.values()],
        }

    def head(self, *, is_request: bool) -> bytes:
        """A head, or what looks like one, with bytes behind it now and then."""
        draw = self.random.random()
        if draw < 0.3:
            data = self.random.choice(self._seeds[is_request])
        else:
            data = self._grown(is_request)
        if draw < 0.2 or draw > 0.7:
            data = self._mutated(data)
        return data + self.random.choice(
            (b"", b"", b"", b"body", b"\r\n", b"GET / HTTP/1.1\r\n\r\n")
        )

    def splits(self, size: int) -> list[int]:
        """Where a head of that size is cut into pieces: now everywhere, now in a few places."""
        if self.random.random() < 0.02:
            return list(range(1, size + 1))
        return sorted({*(self.random.randint(0, size) for _ in range(3)), size})

    def _pick(self, usual: tuple[bytes, ...], odd: tuple[bytes, ...]) -> bytes:
        return self.random.choice(odd if self.random.random() < 0.05 else usual)

    def _grown(self, is_request: bool) -> bytes:
        pick, rand = self._pick, self.random
        if is_request:
            first = b" ".join(
                (
                    pick(_METHODS, _ODD_METHODS),
                    pick(_TARGETS, _ODD_TARGETS),
                    pick(_VERSIONS, _ODD_VERSIONS),
                )
            )
            lines = [first] if rand.random() < 0.1 else [first, b"Host: a.example"]
        else:
            lines = [pick(_VERSIONS, _ODD_VERSIONS) + b" " + pick(_STATUSES, _ODD_STATUSES)]
        count = rand.randint(20, 28) if rand.random() < 0.03 else rand.randint(0, 6)
        lines += [self._field() for _ in range(count)]
        if rand.random() < 0.1:
            # An upgrade makes llhttp end the message at its head, whatever frames it.
            lines += [b"Connection: Upgrade", b"Upgrade: x"]
        if rand.random() < 0.03:
            lines.insert(rand.randint(1, len(lines)), b"L: " + b"l" * rand.randint(1000, 1300))
        return b"\r\n" * (rand.random() < 0.02) + b"\r\n".join([*lines, b"", b""])

    def _field(self) -> bytes:
        rand = self.random
        name = rand.choice(NAMES)
        name = rand.choice((name, name, name.lower(), name.upper()))
        separator = rand.choice((b": ", b": ", b": ", b":", b":  ", b":\t"))
        return name + separator + rand.choice(VALUES) + rand.choice((b"", b"", b"", b" ", b"\t"))

    def _mutated(self, data: bytes) -> bytes:
        rand = self.random
        for _ in range(rand.randint(1, 3)):
            place = rand.randint(0, len(data))
            kind = rand.random()
            if kind < 0.5:
                data = data[:place] + rand.choice(_EVIL) + data[place + rand.randint(0, 1) :]
            elif kind < 0.7:
                data = data[:place] + bytes([rand.randrange(256)]) + data[place + 1 :]
            elif kind < 0.8:
                data = data[:place] + data[place + rand.randint(1, 8) :]
            elif kind < 0.9:
                data = data[:place]
            else:
                lines = data.split(b"\r\n")
                line = rand.randrange(len(lines))
                lines.insert(rand.randrange(len(lines)), lines[line])
                data = b"\r\n".join(lines)
        return data


def verdict(read: Callable[[bytes], RequestHead | ResponseHead | None], data: bytes) -> Verdict:
    """What a reader says, its faults as values."""
    try:
        return read(data)
    except (BadRequest, BadResponse) as error:
        return error.status, error.reason, error.detail


def verdict_in_pieces(
    read: Callable[[bytes], RequestHead | ResponseHead | None], data: bytes, splits: list[int]
) -> Verdict:
    """What a reader says of growing beginnings, as soon as it says anything."""
    for split in splits:
        said = verdict(read, data[:split])
        if said is not None:
            return said
    return None


_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_NEVER_FORWARDED = frozenset(
    b"""connection keep-alive proxy-connection te upgrade forwarded x-real-ip x-request-start
    x-bgproxy-preview""".split()
)


def _fields(lines: bytes) -> list[tuple[bytes, bytes]]:
    assert lines.endswith(b"\r\n")
    fields = []
    for line in lines[:-2].split(b"\r\n")[1:]:
        assert _LINE.fullmatch(line), line
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


def check_request(data: bytes, head: RequestHead) -> None:
    """Assert what must hold of any request that is let in."""
    assert data[head.end - 4 : head.end] == b"\r\n\r\n"
    fields = _fields(head.lines)
    names = [name for name, _ in fields]
    assert head.lines.startswith(b"%b %b HTTP/1.1\r\n" % (head.method, head.target))
    assert re.fullmatch(rb"\*|/[!-~]*", head.target), head.target
    assert names.count(b"host") == (1 if head.host else 0)
    assert not head.host or _values(fields, b"host") == [head.host]
    assert head.host or not head.minor
    lengths = _values(fields, b"content-length")
    codings = _values(fields, b"transfer-encoding")
    if head.length == CHUNKED:
        assert (codings, lengths) == ([b"chunked"], [])
        assert head.minor
    else:
        assert codings == []
        assert lengths in ([b"%d" % head.length], [] if head.length == 0 else None)
    assert not _NEVER_FORWARDED & set(names), names
    for name in names:
        plain = name.replace(b"_", b"-").replace(b".", b"-")
        assert not plain.startswith(b"x-forwarded-"), name
        assert plain == name or plain not in (b"content-length", b"x-real-ip", b"forwarded")
    if b"expect" in names:
        assert head.extras is not None
        assert b"expect" in head.extras


def check_response(data: bytes, method: bytes, head: ResponseHead) -> None:
    """Assert what must hold of any answer that is let through."""
    assert data[head.end - 4 : head.end] == b"\r\n\r\n"
    fields = _fields(head.lines)
    names = [name for name, _ in fields]
    assert head.lines.startswith(b"HTTP/1.1 %d " % head.status)
    assert 100 <= head.status <= 599
    lengths = _values(fields, b"content-length")
    codings = _values(fields, b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        assert (head.length, codings) == (0, [])
    elif head.length == CHUNKED:
        assert codings == [b"chunked"]
        assert head.minor
    elif head.length == UNTIL_CLOSE:
        assert not lengths
        assert not codings
        assert not head.keep_alive
    else:
        assert lengths == [b"%d" % head.length]
    if head.status != 426:
        assert not {b"connection", b"keep-alive", b"proxy-connection", b"upgrade"} & set(names)
    if head.as_is:
        sent = data[: head.end - 2]
        assert head.lines == sent or head.lines.lower() == sent.lower()
        assert head.length != UNTIL_CLOSE


def check(maker: Maker, *, is_request: bool) -> str:
    """Make one head up and check all that must hold of it; what became of it, for the count."""
    data = maker.head(is_request=is_request)
    limits = LIMITS if maker.random.random() < 0.5 else HeadLimits()
    method = maker.random.choice((b"GET", b"GET", b"HEAD"))
    readers: list[Callable[[bytes], RequestHead | ResponseHead | None]]
    if is_request:
        readers = [
            lambda data, quick=quick: quick.read_request_head(data, limits)  # type: ignore[misc]
            for quick in QUICK_READERS
        ]
        readers.append(lambda data: request.read_request_head(data, limits))
    else:
        readers = [
            lambda data, quick=quick: quick.read_response_head(data, method, limits)  # type: ignore[misc]
            for quick in QUICK_READERS
        ]
        readers.append(lambda data: response.read_response_head(data, method, limits))
    splits = maker.splits(len(data))
    said = verdict(readers[-1], data)
    for read in readers:
        assert verdict(read, data) == said, data
        assert verdict_in_pieces(read, data, splits) == said, (data, splits)
    if isinstance(said, RequestHead):
        check_request(data, said)
        again = verdict(readers[0], said.lines + (b"" if said.host else b"Host: x\r\n") + b"\r\n")
        if not isinstance(again, RequestHead):
            # Our own spelling of a few fields may be longer than the client's.
            assert isinstance(again, tuple), (data, again)
            assert again[0] in (414, 431), (data, again)
        else:
            assert (again.method, again.target, again.length) == (
                said.method,
                said.target,
                said.length,
            ), data
    elif isinstance(said, ResponseHead):
        check_response(data, method, said)
    if said is None:
        return "incomplete"
    if isinstance(said, tuple):
        return f"{said[0]} {said[1]}"
    return "read quickly" if is_plain(data, method, limits, is_request) else "read"


def is_plain(data: bytes, method: bytes, limits: HeadLimits, is_request: bool) -> bool:
    """Whether the quickest reader that there is answers for a head by itself."""
    quick = QUICK_READERS[0]
    if is_request:
        return bool(quick.is_plain_request(data, limits))
    return bool(quick.is_plain_response(data, method, limits))


def main(count: int, seed: int) -> None:
    """Check as many heads, half of them answers, and print what became of them."""
    maker = Maker(seed)
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    for number in range(count):
        is_request = number % 2 == 0
        outcome = check(maker, is_request=is_request)
        outcomes[f"{'request' if is_request else 'answer'}: {outcome}"] += 1
    seconds = time.monotonic() - began
    lines = [f"{count} heads, seed {seed}, {seconds:.0f} s" + " (no scanner)" * (_scan is None)]
    lines += [f"{times:9}  {outcome}" for outcome, times in sorted(outcomes.items())]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
