"""Bodies in chunks: a strict decoder that can stop and go on at any byte (RFC 9112 section 7.1).

Chunk extensions end here, as nobody agrees on them, and so do fields that must not be trailers.
Chunks that are already written in the one way in which we write them pass as slices of what came
in, many of them at once; nothing large is joined or copied.
"""

from __future__ import annotations

import re

from bgproxy.errors import BadRequest, BadResponse
from bgproxy.protocol.forwarding import HOP_BY_HOP, is_set_aside, shadowed_name

_EXTENSION = rb"[ \t]*;[\t -~\x80-\xff]*"
_CHUNK_HEAD = re.compile(rb"(0*[0-9A-Fa-f]{1,15})((?:%b)?)\r\n" % _EXTENSION)
_HEAD_SO_FAR = re.compile(rb"0*[0-9A-Fa-f]{1,15}(?:[ \t]*|%b)\r?" % _EXTENSION)
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t -~\x80-\xff]*\r\n")

_MOST_HEAD_BYTES = 1024
"""Of a chunk's head with its extensions."""

_MOST_EXTENSION_BYTES = 16 * 1024
"""Of extensions in a body, beyond as much as there is payload: they were used to make servers read
far more than they count (CVE-2023-39326), and 16 KiB is Go's bound since."""

_SMALL_BYTES = 1024
"""What is shorter is copied, which costs no more than a view of it and keeps no large bytes."""

_FORBIDDEN = HOP_BY_HOP | frozenset(
    b"""age authorization cache-control content-encoding content-length content-location
    content-range content-type cookie date expect expires forwarded host if-match
    if-modified-since if-none-match if-range if-unmodified-since location max-forwards
    pragma proxy-authenticate proxy-authorization range retry-after set-cookie te trailer vary
    warning www-authenticate x-request-id""".split()
)
"""What a recipient could merge into the head, and be routed, framed or let in by: not allowed in
trailers (RFC 9110 section 6.5.1)."""

_HEAD, _DATA, _DATA_END, _TRAILERS = range(4)

_NO_DIGIT = 16
_DIGITS = bytes(
    int(chr(n), 16) if chr(n) in "0123456789abcdefABCDEF" else _NO_DIGIT for n in range(256)
)
"""The value of each byte as a digit of a chunk's size."""

_MOST_DIGITS = 15
_CR, _LF, _ZERO = b"\r\n0"


class ChunkedReader:
    """Reads one body; `feed` it until `is_done`.

    Args:
        fault: what is raised for bytes that break a rule: the side they came from.
        keep_framing: whether `out` is chunks again, or the payload alone (for HTTP/1.0).
        max_trailer_bytes: of all trailer lines.

    Attributes:
        out: what is to be written on since the last `feed`: slices of its `data`, and framing.
        is_done: whether the body's last byte was read.
        payload_bytes: how much payload has come so far.
        trailers: the trailer lines that may go on, each with its CRLF.
    """

    __slots__ = (
        "_extension_bytes",
        "_fault",
        "_keep_framing",
        "_left",
        "_max_trailer_bytes",
        "_partial",
        "_state",
        "_trailer_bytes",
        "is_done",
        "out",
        "payload_bytes",
        "trailers",
    )

    def __init__(
        self,
        fault: type[BadRequest | BadResponse] = BadRequest,
        *,
        keep_framing: bool,
        max_trailer_bytes: int = 8192,
    ) -> None:
        self._fault = fault
        self._keep_framing = keep_framing
        self._max_trailer_bytes = max_trailer_bytes
        self._state = _HEAD
        self._left = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._partial = b""
        self.out: list[bytes | memoryview] = []
        self.is_done = False
        self.payload_bytes = 0
        self.trailers = b""

    def feed(self, data: bytes) -> int:
        """Read on.

        Returns:
            How many bytes belonged to the body: all of them, unless it `is_done`.

        Raises:
            BadRequest, BadResponse: a rule is broken; the body must end unfinished then.
        """
        self.out = []
        position = run = self._read_partial(data) if self._partial else 0
        size = len(data)
        while position < size and not self.is_done:
            if self._state == _HEAD:
                position = self._pass_whole_chunks(data, position)
                if position == size or self.is_done:
                    break
            if self._state == _DATA:
                position = self._pass_payload(data, position)
                continue
            line_end = data.find(b"\n", position, position + self._most_line_bytes()) + 1
            if not line_end:
                self._write(data, run, position)
                self._keep(data[position:])
                return size
            line = data[position:line_end]
            written = self._read_line(line)
            if written != line:
                self._write(data, run, position)
                run = line_end
                if written:
                    self.out.append(written)
            position = line_end
        self._write(data, run, position)
        return position

    def _pass_whole_chunks(self, data: bytes, position: int) -> int:
        """Pass what is here as a whole and written as ours is: chunks, and the end of a body."""
        digits = _DIGITS
        # A chunk and the end of a body take five bytes at least, so what is looked at is there.
        last = len(data) - 5
        while position <= last:
            start = position
            payload = 0
            while start < last and start - position < _MOST_DIGITS and digits[data[start]] < 16:
                payload = payload * 16 + digits[data[start]]
                start += 1
            if not payload or data[position] == _ZERO or data[start] != _CR:
                break
            start += 2
            end = start + payload
            if data[start - 1] != _LF or end > last + 3 or data[end] != _CR or data[end + 1] != _LF:
                break
            if not self._keep_framing:
                self._append(data, start, end)
            self.payload_bytes += payload
            position = end + 2
        if data.startswith(b"0\r\n\r\n", position):
            self.is_done = True
            position += 5
        return position

    def _pass_payload(self, data: bytes, position: int) -> int:
        """Pass what is here of a chunk's payload."""
        end = min(position + self._left, len(data))
        if not self._keep_framing:
            self._append(data, position, end)
        self.payload_bytes += end - position
        self._left -= end - position
        if not self._left:
            self._state = _DATA_END
        return end

    def _write(self, data: bytes, start: int, end: int) -> None:
        """Write a run of bytes on as they came, framing included."""
        if self._keep_framing and start < end:
            self._append(data, start, end)

    def _append(self, data: bytes, start: int, end: int) -> None:
        if end - start == len(data):
            self.out.append(data)
        elif end - start < _SMALL_BYTES:
            self.out.append(data[start:end])
        else:
            self.out.append(memoryview(data)[start:end])

    # -- lines ----------------------------------------------------------------------------------

    def _most_line_bytes(self) -> int:
        """How much longer the line under way may become."""
        most = _MOST_HEAD_BYTES
        if self._state == _TRAILERS:
            most = self._max_trailer_bytes - self._trailer_bytes
        return most - len(self._partial)

    def _keep(self, rest: bytes) -> None:
        """Keep the beginning of a line, unless it is wrong already."""
        line = self._partial + rest
        if self._state == _TRAILERS:
            if len(line) >= self._max_trailer_bytes - self._trailer_bytes:
                raise self._broken("bad_trailer", "the trailers are too large")
        elif self._state == _DATA_END:
            if line != b"\r":
                raise self._no_chunk_end()
        elif not _HEAD_SO_FAR.fullmatch(line[:_MOST_HEAD_BYTES]):
            raise self._no_chunk_head()
        elif len(line) >= _MOST_HEAD_BYTES:
            raise self._broken("bad_chunk", "a chunk's head is too long")
        self._partial = line

    def _read_partial(self, data: bytes) -> int:
        """Read a line whose beginning came before; where it ends in `data`."""
        line_end = data.find(b"\n", 0, self._most_line_bytes()) + 1
        if not line_end:
            self._keep(data)
            return len(data)
        line, self._partial = self._partial + data[:line_end], b""
        written = self._read_line(line)
        if written:
            self.out.append(written)
        return line_end

    def _read_line(self, line: bytes) -> bytes:
        """Read a line of framing, and return what is to be written in its place."""
        if self._state == _HEAD:
            written = self._read_chunk_head(line)
        elif self._state == _DATA_END:
            if line != b"\r\n":
                raise self._no_chunk_end()
            self._state = _HEAD
            written = line
        elif line == b"\r\n":
            self.is_done = True
            written = line
        else:
            written = self._read_trailer(line)
        return written if self._keep_framing else b""

    def _read_chunk_head(self, line: bytes) -> bytes:
        match = _CHUNK_HEAD.fullmatch(line)
        if match is None:
            raise self._no_chunk_head()
        digits, extension = match.groups()
        self._extension_bytes += len(extension)
        if self._extension_bytes > _MOST_EXTENSION_BYTES + self.payload_bytes:
            raise self._broken("bad_chunk", "more chunk extensions than body")
        self._left = int(digits, 16)
        self._state = _DATA if self._left else _TRAILERS
        return b"%x\r\n" % self._left if extension or digits[:1] == b"0" else line

    def _read_trailer(self, line: bytes) -> bytes:
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise self._broken("bad_trailer", "not a field line")
        self._trailer_bytes += len(line)
        if not _may_be_trailer(match[1].lower()):
            return b""
        self.trailers += line
        return line

    def _no_chunk_head(self) -> BadRequest | BadResponse:
        return self._broken("bad_chunk", "not a chunk's size")

    def _no_chunk_end(self) -> BadRequest | BadResponse:
        return self._broken("bad_chunk", "a chunk's end is missing")

    def _broken(self, reason: str, detail: str) -> BadRequest | BadResponse:
        if issubclass(self._fault, BadRequest):
            return BadRequest(400, reason, detail)
        return BadResponse(reason, detail)


def _may_be_trailer(name: bytes) -> bool:
    """Whether a field may stand in the trailers and go on (RFC 9110 section 6.5.1)."""
    return not (name in _FORBIDDEN or is_set_aside(name) or shadowed_name(name))
