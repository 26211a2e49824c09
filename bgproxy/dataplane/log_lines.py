"""One line of the access log: bytes put together with ``%``, safe whatever a client sends.

What the strict reader has checked (method and target) is visible ASCII, so only quotes and
backslashes are looked for; field values are looked at byte by byte. Nothing in a value can break a
line or leave its field (CWE-117).
"""

from __future__ import annotations

import json
import re
import time
from typing import NamedTuple, Protocol

from bgproxy.protocol.forwarding import field_value
from bgproxy.protocol.head import RequestHead

_MOST_TARGET = 1500
_MOST_FIELD = 256
_MOST_METHOD = 32

_NOT_PLAIN = re.compile(rb"[^ !#-\[\]-~]")
_USERINFO = re.compile(rb"//[^/]*@")

_JSON = (
    b'{"time":"%b.%03dZ",%b,"client":"%b","method":"%b","path":"%b","status":%d,'
    b'"outcome":"%b","duration":%.6f,"bytes_in":%d,"bytes_out":%d,"request_id":"%b"}\n'
)

NO_HEAD = RequestHead(0, b"", b"", b"", b"", 0, 0, False, None)
"""What stands for the head of a request that could not be read."""


class Place(NamedTuple):
    """Where a request went; empty, or 0, as far as it did not come."""

    service: str = ""
    environment: str = ""
    generation: int = 0
    backend: str = ""


Result = tuple[int, bytes, float, int, int]
"""How a request ended: the status that the client was told (499 if it went before); ``ok``, or why
not; seconds from the head's last byte on; bytes relayed of the request's and the answer's body."""


class LineFormat(Protocol):
    """A form of the log's lines."""

    def place(self, place: Place) -> bytes:
        """The part of a line that is the same for many requests."""

    def line(
        self,
        at: float,
        place: bytes,
        client: bytes,
        head: RequestHead,
        result: Result,
        request_id: bytes,
        detail: str = "",
    ) -> bytes:
        """A whole line, with its line feed.

        Args:
            at: Unix time at which the head was there.
            place: as `place` made it.
            detail: what went wrong, in words; empty where nothing did.
        """


class JsonFormat:
    """JSON lines.

    Args:
        with_query: whether targets are written with their query.
    """

    def __init__(self, *, with_query: bool) -> None:
        self._with_query = with_query
        self._second = 0
        self._time = b""

    def place(self, place: Place) -> bytes:
        """Four members; null as far as the request did not come."""
        members = {name: value or None for name, value in place._asdict().items()}
        return json.dumps(members, separators=(",", ":"))[1:-1].encode()

    def line(
        self,
        at: float,
        place: bytes,
        client: bytes,
        head: RequestHead,
        result: Result,
        request_id: bytes,
        detail: str = "",
    ) -> bytes:
        """An object; method and path are empty where no head could be read.

        It has a ``detail`` only where something went wrong.
        """
        second = int(at)
        if second != self._second:
            self._second = second
            self._time = _utc("%Y-%m-%dT%H:%M:%S", second)
        method, target = head.method, head.target
        if not self._with_query:
            target = target.partition(b"?")[0]
        if len(target) + len(method) > _MOST_TARGET:
            method, target = method[:_MOST_METHOD], target[:_MOST_TARGET]
        if b'"' in target or b"\\" in target:
            target = target.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        status, outcome, duration, bytes_in, bytes_out = result
        line = _JSON % (
            self._time, (at - second) * 1000, place, client, method, target,
            status, outcome, duration, bytes_in, bytes_out, request_id,
        )  # fmt: skip
        if detail:
            line = b'%b,"detail":%b}\n' % (line[:-2], json.dumps(detail[:_MOST_FIELD]).encode())
        return line


class CombinedFormat:
    """Apache's combined format, with what it has no field for behind it.

    Args:
        with_query: whether targets and referers are written with their query.
    """

    def __init__(self, *, with_query: bool) -> None:
        self._with_query = with_query
        self._second = 0
        self._time = b""

    def place(self, place: Place) -> bytes:
        """Four words; a dash as far as the request did not come."""
        return " ".join(str(value or "-") for value in place).encode("latin-1")

    def line(
        self,
        at: float,
        place: bytes,
        client: bytes,
        head: RequestHead,
        result: Result,
        request_id: bytes,
        detail: str = "",
    ) -> bytes:
        """Fields between spaces, in quotes where they may have some."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._time = _utc("%d/%b/%Y:%H:%M:%S +0000", second)
        method, target = _shortened(head.method, head.target, with_query=self._with_query)
        request = b"%b %b HTTP/1.%d" % (method, _escaped(target), head.minor) if method else b"-"
        referer, agent = field_value(head.lines, b"referer"), field_value(head.lines, b"user-agent")
        if referer:
            referer = _USERINFO.sub(b"//", referer, count=1)
            if not self._with_query:
                referer = referer.partition(b"?")[0]
        status, outcome, duration, bytes_in, bytes_out = result
        said = _escaped(detail[:_MOST_FIELD].encode("latin-1", "replace")) if detail else b"-"
        return b'%b - - [%b] "%b" %d %d "%b" "%b" %b %b %.6f %d %b "%b"\n' % (
            *(client or b"-", self._time, request, status, bytes_out),
            *(_escaped(referer[:_MOST_FIELD]) or b"-", _escaped(agent[:_MOST_FIELD]) or b"-"),
            *(place, outcome, duration, bytes_in, request_id or b"-", said),
        )


def _utc(form: str, second: int) -> bytes:
    """A whole second as text; whoever asks keeps it for the next line."""
    return time.strftime(form, time.gmtime(second)).encode()


def _shortened(method: bytes, target: bytes, *, with_query: bool) -> tuple[bytes, bytes]:
    """Method and target, not longer than a line should be."""
    if not with_query:
        target = target.partition(b"?")[0]
    return method[:_MOST_METHOD], target[:_MOST_TARGET]


def _escaped(value: bytes) -> bytes:
    r"""Quotes, backslashes and whatever is no visible ASCII as ``\xHH``, as nginx writes them."""
    if _NOT_PLAIN.search(value) is None:
        return value
    return _NOT_PLAIN.sub(lambda match: b"\\x%02X" % match[0][0], value)
