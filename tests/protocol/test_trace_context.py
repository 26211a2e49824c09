"""W3C Trace Context: what is read, what is replaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgproxy.protocol.trace_context import (
    TraceContext,
    read_trace_context,
    read_trace_state,
    with_trace_context,
)

LINES = b"GET / HTTP/1.1\r\nHost: x\r\n"
CONTEXTS = st.builds(
    TraceContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, 3),
)


@given(CONTEXTS)
def test_what_is_written_is_read_back(context: TraceContext) -> None:
    """Numbers keep their leading zeros."""
    lines = with_trace_context(LINES, context, keeps_state=False)
    assert read_trace_context(lines) == context


@given(st.binary(max_size=70).filter(lambda data: not {10, 13} & set(data)))
def test_whatever_a_client_sends_is_read_or_left(data: bytes) -> None:
    """And what is read can be told on."""
    context = read_trace_context(LINES + b"traceparent: %b\r\n" % data)
    assert context is None or context.field_value().startswith(b"00-")


def test_flags_that_nobody_knows_are_not_passed_on() -> None:
    """Section 3.2.2.5: only what is known may be set."""
    parent = b"00-%b-%b-ff" % (b"a" * 32, b"b" * 16)
    context = read_trace_context(LINES + b"traceparent: %b\r\n" % parent)
    assert context is not None
    assert context.flags == 3
    assert context.is_sampled


def test_only_the_two_fields_are_replaced() -> None:
    """Order and spelling of all others stay; the state stays where the trace does."""
    lines = LINES + b"TraceParent: x\r\nA: traceparent\r\ntracestate: a=1\r\nTraceState: b=2\r\n"
    context = TraceContext(1, 2, 1)
    field = b"traceparent: 00-%b1-%b2-01\r\n" % (b"0" * 31, b"0" * 15)
    kept = with_trace_context(lines, context, keeps_state=True)
    assert kept == LINES + b"A: traceparent\r\ntracestate: a=1\r\nTraceState: b=2\r\n" + field
    assert read_trace_state(kept) == b"a=1,b=2"
    dropped = with_trace_context(lines, context, keeps_state=False)
    assert dropped == LINES + b"A: traceparent\r\n" + field
