"""What the load sends: requests as bytes, made beforehand, the same for every load program."""

from __future__ import annotations

import struct
from collections.abc import Sequence

VARIETY = 1000
"""Different browser requests that are sent in turn, so that nothing can be remembered."""

_BROWSER = """\
Host: shop.example.com
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/142.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Referer: https://shop.example.com/list
Accept-Encoding: gzip, deflate, br
Accept-Language: en-GB,en;q=0.9
"""

_CURL = """\
Host: shop.example.com
User-Agent: curl/8.11.0
Accept: */*
"""

_PIECE = 16 << 10
"""Bytes in a chunk of a chunked request."""

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: shop.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The one WebSocket handshake that the backend answers."""

FRAME = b"\x82\xc0\0\0\0\0" + b"e" * 64
"""A WebSocket message of 64 bytes, masked with zeros."""


def browser(path: str, *, host: str = "shop.example.com") -> list[bytes]:
    """What a current browser sends, 17 fields and some 770 bytes; path and cookie always differ."""
    lines = _BROWSER.replace("shop.example.com", host).splitlines()
    return [
        _head(
            f"GET {path}/{number}?page={number % 17}",
            [*lines, f"Cookie: session={number * 2654435761 % 2**32:08x}{number:08x}; theme=dark"],
        )
        for number in range(1, VARIETY + 1)
    ]


def curl(path: str, *, fields: Sequence[str] = ()) -> list[bytes]:
    """What curl sends, with more fields behind its own."""
    return [_head(f"GET {path}", [*_CURL.splitlines(), *fields])]


def with_fields(path: str, count: int) -> list[bytes]:
    """A request with so many fields: Host, and others of 40 bytes each."""
    more = [f"X-Field-{number:03d}: {'v' * 25}" for number in range(1, count)]
    return [_head(f"GET {path}", ["Host: shop.example.com", *more])]


def post(path: str, size: int, *, is_chunked: bool = False) -> list[bytes]:
    """A request with a body, with its length or in chunks of 16 KiB."""
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    head = _head(f"POST {path}", [*_CURL.splitlines(), framing])
    if not is_chunked:
        return [head + b"u" * size]
    chunk = b"%x\r\n%b\r\n" % (_PIECE, b"u" * _PIECE)
    return [head + chunk * (size // _PIECE) + b"0\r\n\r\n"]


def packed(requests: Sequence[bytes]) -> bytes:
    """As the load programs read them: each behind its size."""
    return b"".join(struct.pack("<I", len(each)) + each for each in requests)


def _head(request_line: str, lines: Sequence[str]) -> bytes:
    return "\r\n".join([f"{request_line} HTTP/1.1", *lines, "", ""]).encode()
