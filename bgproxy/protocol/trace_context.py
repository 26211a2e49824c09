"""W3C Trace Context: the two fields by which one hop tells the next which trace it is in.

A proxy that takes no part in tracing passes both on as they came. One that does replaces the first
with its own span, and drops the second where it could not read the first (W3C Trace Context,
sections 2.3 and 4.3).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bgproxy.protocol.forwarding import field_values, without

SAMPLED = 0x01
"""Flag: whoever sent this records the trace."""

_KNOWN_FLAGS = SAMPLED | 0x02
"""The second says that the trace's number is random, and passes (level 2, section 3.2.2.5)."""

# Of a version that is not known yet, what is known of the first counts (section 3.2.4).
_PARENT = re.compile(rb"(00|(?!ff)[0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FIELDS = frozenset({b"traceparent", b"tracestate"})
_PARENT_FIELD = frozenset({b"traceparent"})


class TraceContext(NamedTuple):
    """Where in a trace something is.

    Args:
        trace_id: 1 to 2**128 - 1.
        span_id: 1 to 2**64 - 1.
        flags: see `SAMPLED`.
    """

    trace_id: int
    span_id: int
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether its sender records the trace."""
        return bool(self.flags & SAMPLED)

    def field_value(self) -> bytes:
        """As ``traceparent`` has it, in the first version."""
        return b"00-%032x-%016x-%02x" % self


def read_trace_context(lines: bytes) -> TraceContext | None:
    """Where the sender of a request is in its trace.

    Args:
        lines: of the `RequestHead`.

    Returns:
        None where it does not say so, or not as it must: then a new trace begins.
    """
    values = field_values(lines, b"traceparent")
    match = _PARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    context = TraceContext(int(match[2], 16), int(match[3], 16), int(match[4], 16) & _KNOWN_FLAGS)
    return context if context.trace_id and context.span_id else None


def read_trace_state(lines: bytes) -> bytes:
    """What others want to know of the trace, in one line."""
    return b",".join(field_values(lines, b"tracestate"))


def with_trace_context(lines: bytes, context: TraceContext, *, keeps_state: bool) -> bytes:
    """A request's lines that say where this hop is.

    Args:
        lines: of the `RequestHead`.
        keeps_state: whether the trace is the sender's, so that its ``tracestate`` goes on.
    """
    if b"\r\ntrace" in lines.lower():
        dropped = _PARENT_FIELD if keeps_state else _FIELDS
        lines = b"\r\n".join(without(lines.split(b"\r\n"), dropped))
    return b"%btraceparent: %b\r\n" % (lines, context.field_value())
