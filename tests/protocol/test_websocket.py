"""Where frames end, whatever the reads."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.protocol.websocket import FrameTracker, close_frame


def frame(size: int, *, is_masked: bool = False, opcode: int = 0x82) -> bytes:
    """A frame with a payload of zeros (RFC 6455 section 5.2)."""
    mask = 0x80 if is_masked else 0
    if size < 126:
        head = struct.pack("!BB", opcode, mask | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", opcode, mask | 126, size)
    else:
        head = struct.pack("!BBQ", opcode, mask | 127, size)
    return head + b"mask" * is_masked + bytes(size)


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 300, 65535, 65536])
def test_boundary_is_behind_a_whole_frame(size: int, is_masked: bool) -> None:
    """Every length form; the head and the payload may be cut anywhere."""
    data = frame(size, is_masked=is_masked)
    cuts = {*range(min(len(data), 20)), len(data) - 1}
    for cut in cuts:
        tracker = FrameTracker()
        tracker.feed(data[:cut])
        assert tracker.at_boundary is (cut == 0)
        tracker.feed(data[cut:])
        assert tracker.at_boundary
        tracker.feed(data + data[:1])
        assert not tracker.at_boundary


@given(
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=6),
    st.lists(st.integers(0, 2400), max_size=8),
)
def test_boundaries_are_found_at_any_split(frames, cuts) -> None:
    """After each read, at a boundary exactly where a frame ended."""
    data, ends = b"", {0}
    for size, is_masked in frames:
        data += frame(size, is_masked=is_masked)
        ends.add(len(data))
    tracker, start = FrameTracker(), 0
    for cut in sorted({*(min(cut, len(data)) for cut in cuts), len(data)}):
        tracker.feed(data[start:cut])
        assert tracker.at_boundary is (cut in ends)
        start = cut


def test_huge_frame_costs_no_memory() -> None:
    """A length of exabytes is counted, not waited for."""
    tracker = FrameTracker()
    tracker.feed(struct.pack("!BBQ", 0x82, 127, 1 << 60) + bytes(1000))
    tracker.feed(bytes(70000))
    assert not tracker.at_boundary


def test_close_frame_is_a_servers() -> None:
    """Final, not masked, with its code and reason (RFC 6455 sections 5.1, 5.5.1 and 7.4)."""
    assert close_frame(1001, b"going away") == b"\x88\x0c\x03\xe9going away"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    tracker = FrameTracker()
    tracker.feed(close_frame(1001))
    assert tracker.at_boundary


def test_reason_is_cut_to_what_a_control_frame_holds() -> None:
    """125 bytes, and no broken character at the end."""
    data = close_frame(1001, "é".encode() * 100)
    assert data[1] == 2 + 122
    assert data[4:].decode() == "é" * 61
