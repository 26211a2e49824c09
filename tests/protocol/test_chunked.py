"""Bodies in chunks: what passes untouched, what is written anew, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgproxy.errors import BadRequest, BadResponse
from bgproxy.protocol.chunked import ChunkedReader

END = b"0\r\n\r\n"


def read(data: bytes, *, keep_framing: bool = True, splits: list[int] | None = None, **more):
    """Read a body in pieces; what goes on, how much belonged to it, and the reader."""
    reader = ChunkedReader(keep_framing=keep_framing, **more)
    written, consumed, start = b"", 0, 0
    for end in sorted({*(splits or ()), len(data)}):
        if reader.is_done:
            break
        consumed += reader.feed(data[start:end])
        written += b"".join(reader.out)
        start = end
    return written, consumed, reader


def broken(data: bytes, **more) -> str:
    """The reason for which a body is refused, the same in one piece and byte by byte."""
    reasons = set()
    for splits in ([], list(range(len(data)))):
        with pytest.raises(BadRequest) as refused:
            read(data, splits=splits, **more)
        assert refused.value.status == 400
        reasons.add((refused.value.reason, refused.value.detail))
    ((reason, _),) = reasons
    return reason


BODIES = {
    "empty": (END, END, b""),
    "one chunk": (b"5\r\nhello\r\n" + END, b"5\r\nhello\r\n" + END, b"hello"),
    "hexadecimal": (b"a\r\n0123456789\r\n" + END, b"a\r\n0123456789\r\n" + END, b"0123456789"),
    "capitals": (b"A\r\n0123456789\r\n" + END, b"A\r\n0123456789\r\n" + END, b"0123456789"),
    "several zeros at the end": (b"1\r\nx\r\n000\r\n\r\n", b"1\r\nx\r\n" + END, b"x"),
    "leading zeros": (b"0001\r\nx\r\n" + END, b"1\r\nx\r\n" + END, b"x"),
    "extension": (b"1;a\r\nx\r\n0;b=c\r\n\r\n", b"1\r\nx\r\n" + END, b"x"),
    "quoted extension": (b'1 ; a="\\";\xe9"\t\r\nx\r\n' + END, b"1\r\nx\r\n" + END, b"x"),
    "line ends inside": (b"4\r\n\r\n\r\n\r\n" + END, b"4\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n"),
    "chunk of chunks": (b"5\r\n0\r\n\r\n\r\n" + END, b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"),
    "trailer": (b"0\r\nX-Sum: 1\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n", b""),
    "trailers, one dropped": (
        b"1\r\nx\r\n0\r\nA:\r\nHost: evil\r\nB: \xe9\r\n\r\n",
        b"1\r\nx\r\n0\r\nA:\r\nB: \xe9\r\n\r\n",
        b"x",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_body_is_read_the_same_at_every_split(name: str) -> None:
    """RFC 9112 section 7.1; what is written on, the payload, and the end do not depend on reads."""
    data, framed, payload = BODIES[name]
    size = len(data)
    ways = [[], list(range(size)), *([cut] for cut in range(size))]
    ways += [[one, two] for one in range(size) for two in range(one, size)]
    for splits in ways:
        written, consumed, reader = read(data + b"NEXT", splits=splits)
        assert (written, consumed) == (framed, size)
        assert reader.is_done
        assert reader.payload_bytes == len(payload)
        assert read(data + b"NEXT", splits=splits, keep_framing=False)[:2] == (payload, size)


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n", b" 1\r\nx\r\n", b"1 \r\nx\r\n", b"1\t\r\nx\r\n", b"+1\r\nx\r\n", b"-1\r\nx\r\n"),
        *(
            b"0x1\r\nx\r\n",
            b"1_0\r\nx\r\n",
            b"g\r\n",
            b"1g\r\nx\r\n",
            b"\xb1\r\nx\r\n",
            b"Z\r\nZZ\r\n",
        ),
        *(
            b"1\nx\r\n",
            b"1\rx\r\n",
            b"1\r\r\nx\r\n",
            b"1;a\nx\r\n",
            b"1;a\r\r\nx\r\n",
            b"1;\0\r\nx\r\n",
        ),
        *(
            b"1 a\r\nx\r\n",
            b"1,a\r\nx\r\n",
            b"1\x0b;a\r\nx\r\n",
            b"1;\x7f\r\nx\r\n",
            b"1=a\r\nx\r\n",
        ),
        *(
            b"1\r\nxy\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nx\r0\r\n\r\n",
            b"1\r\nx0\r\n\r\n",
            b"2\r\nx\r\n0\r\n",
        ),
        *(
            b"1\r\nx\r\n\r\n",
            b"1\r\n\r\n\r\n\n",
            b"1" * 16 + b"\r\n",
            b"1" * 16 + b"\r\n",
            b"f" * 17 + b"\r\n",
        ),
        *(
            b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n",
            b"1;" + b"a" * 1100 + b"\r\nx\r\n",
            b"1;" + b"a" * 2000,
        ),
        b"-0x0\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused(data: bytes) -> None:
    """Each of these was read in two ways by some pair of servers (http-garden, llhttp)."""
    assert broken(data) == "bad_chunk"
    assert broken(b"3\r\nabc\r\n" + data) == "bad_chunk"
    assert broken(data, keep_framing=False) == "bad_chunk"


def test_malformed_chunks_are_refused_before_their_line_ends() -> None:
    """A peer that stalls inside garbage is not waited for."""
    for data in (b"Z", b"1x", b" ", b"1\r\nxy", b"\n", b"1" * 17):
        with pytest.raises(BadRequest):
            ChunkedReader(keep_framing=True).feed(data)


@pytest.mark.parametrize(
    "trailer",
    [
        *(
            b"A : b\r\n",
            b" A: b\r\n",
            b": b\r\n",
            b"A\r\n",
            b"A: b\r\n c\r\n",
            b"A: \0\r\n",
            b"A: b\rc\r\n",
        ),
        *(b"A: b\n", b"\n", b"A\xe9: b\r\n", b"X:POST / HTTP/1.1\r\n\n", b"A: \x7f\r\n"),
    ],
)
def test_malformed_trailers_are_refused(trailer: bytes) -> None:
    """The same syntax as in heads (RFC 9112 section 7.1.2)."""
    assert broken(b"0\r\n" + trailer + b"\r\n") == "bad_trailer"


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"Content-Length",
            b"Transfer-Encoding",
            b"Host",
            b"Connection",
            b"Authorization",
            b"Cookie",
        ),
        *(
            b"set-cookie",
            b"CONTENT-TYPE",
            b"Trailer",
            b"TE",
            b"X-Forwarded-For",
            b"X-Real-IP",
            b"Expect",
        ),
        *(b"Forwarded", b"Content_Length", b"X_Forwarded_Proto", b"Cache-Control", b"X-Request-Id"),
    ],
)
def test_fields_that_change_the_message_are_no_trailers(name: bytes) -> None:
    """A recipient may merge trailers into the head (RFC 9110 section 6.5.1)."""
    written, _, reader = read(b"0\r\n%b: 1\r\nX-Own: 2\r\n\r\n" % name)
    assert written == b"0\r\nX-Own: 2\r\n\r\n"
    assert reader.trailers == b"X-Own: 2\r\n"


def test_trailers_are_bounded() -> None:
    """In total, and even while their line has no end."""
    line = b"A: " + b"a" * 45 + b"\r\n"
    assert read(b"0\r\n" + line + b"\r\n", max_trailer_bytes=52)[2].is_done
    assert broken(b"0\r\n" + line + line + b"\r\n", max_trailer_bytes=90) == "bad_trailer"
    assert broken(b"0\r\nA: " + b"a" * 100, max_trailer_bytes=90) == "bad_trailer"


def test_extensions_are_bounded_by_the_payload() -> None:
    """A body of extensions alone makes everyone read for nothing; signed chunks are fine."""
    signed = b"2000;chunk-signature=" + b"a" * 64 + b"\r\n" + bytes(0x2000) + b"\r\n"
    assert read(signed * 300 + END)[2].is_done
    evil = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    assert broken(evil * 18) == "bad_chunk"


def test_answers_are_blamed_on_the_backend() -> None:
    """The same rules, another side."""
    with pytest.raises(BadResponse) as refused:
        ChunkedReader(BadResponse, keep_framing=True).feed(b"x")
    assert (refused.value.status, refused.value.reason) == (502, "bad_chunk")


def test_large_payload_is_neither_joined_nor_copied() -> None:
    """A read inside a chunk goes on as the object that came; a run of chunks as one slice."""
    reader = ChunkedReader(keep_framing=True)
    reader.feed(b"100000\r\n")
    inside = bytes(0x10000)
    reader.feed(inside)
    assert len(reader.out) == 1
    assert reader.out[0] is inside
    chunks = (b"400\r\n" + bytes(0x400) + b"\r\n") * 60
    reader = ChunkedReader(keep_framing=True)
    reader.feed(chunks)
    assert len(reader.out) == 1
    assert reader.out[0] is chunks
    behind = chunks + END + b"next"
    reader = ChunkedReader(keep_framing=True)
    consumed = reader.feed(behind)
    assert [bytes(piece) for piece in reader.out] == [behind[:consumed]]
    assert isinstance(reader.out[0], memoryview)
    reader = ChunkedReader(keep_framing=False)
    reader.feed(chunks)
    assert all(isinstance(piece, memoryview) for piece in reader.out)
    assert len(reader.out) == 60


CHUNKS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40),
        st.sampled_from([b"", b"", b"", b";a=b", b' ; q="x"']),
        st.sampled_from([b"%x", b"%X", b"%03x"]),
    ),
    max_size=8,
)


@settings(max_examples=300)
@given(CHUNKS, st.lists(st.integers(0, 400), max_size=6), st.booleans(), st.binary(max_size=9))
def test_payload_survives(chunks, splits, has_trailer, behind) -> None:
    """Whatever the sizes, extensions and splits: both outputs carry the payload, and agree."""
    data = b"".join(
        form % len(payload) + extension + b"\r\n" + payload + b"\r\n"
        for payload, extension, form in chunks
    )
    data += b"0\r\n" + b"X-T: 1\r\n" * has_trailer + b"\r\n"
    payload = b"".join(payload for payload, _, _ in chunks)
    framed, consumed, reader = read(data + behind, splits=splits)
    assert consumed == len(data)
    assert reader.payload_bytes == len(payload)
    assert read(data + behind, splits=splits, keep_framing=False)[0] == payload
    # What goes on is read again the same, and passes without a change.
    again, consumed, _ = read(framed)
    assert (again, consumed) == (framed, len(framed))
    assert read(framed, keep_framing=False)[0] == payload


@settings(max_examples=300)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_mutations_never_depend_on_splits(name: str, data) -> None:
    """Any change of a few bytes is read, refused or incomplete alike, in one piece or many."""
    body = bytearray(BODIES[name][0] + END)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b";", b"0", b"f", b" ", b"\xff", b":", b"-"]
            )
        )

    def verdict(splits: list[int]):
        try:
            written, consumed, reader = read(bytes(body), splits=splits)
        except BadRequest as error:
            return error.reason, error.detail
        # A chunk's payload is written on before its end has come, so what is incomplete is
        # compared by what was understood.
        return (written, consumed) if reader.is_done else reader.payload_bytes

    splits = data.draw(st.lists(st.integers(0, len(body)), max_size=5))
    assert verdict(splits) == verdict([]) == verdict(list(range(len(body))))
