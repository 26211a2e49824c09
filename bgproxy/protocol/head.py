"""The one door to heads: the values, and what reads and writes them, compiled where that was built.

The scanner answers for plain heads, or a pattern does in its place where nothing is compiled. Both
hand every other head to the reference, so which of them is at work shows in the time it takes and
in nothing else. ``BGPROXY_SCANNER=python`` in the environment forces what is not compiled.
"""

from __future__ import annotations

from bgproxy import compiled
from bgproxy.protocol.values import (
    CHUNKED,
    REQUEST_LIMITS,
    RESPONSE_LIMITS,
    UNTIL_CLOSE,
    HeadLimits,
    RequestHead,
    ResponseHead,
)

__all__ = [
    "CHUNKED",
    "REQUEST_LIMITS",
    "RESPONSE_LIMITS",
    "SCANNER",
    "UNTIL_CLOSE",
    "HeadLimits",
    "RequestHead",
    "ResponseHead",
    "read_request_head",
    "read_response_head",
    "request_head",
    "small_answer",
]

if compiled.IS_USED:
    from bgproxy.protocol import _scan

    SCANNER = "compiled"
    read_request_head = _scan.read_request_head
    read_response_head = _scan.read_response_head
    request_head = _scan.request_head
    small_answer = _scan.small_answer
else:
    # Not before it is known to be needed: its patterns take 15 ms to compile.
    from bgproxy.protocol import plain, render

    SCANNER = "python"
    read_request_head = plain.read_request_head
    read_response_head = plain.read_response_head
    request_head = render.request_head
    small_answer = render.small_answer
