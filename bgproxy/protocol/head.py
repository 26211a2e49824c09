"""The one door to heads: the values, and the two readers, compiled where that could be built.

The scanner answers for plain heads and hands every other one to the reference, so which of the two
is at work shows in the time it takes and in nothing else. ``BGPROXY_SCANNER=python`` in the
environment forces the reference.
"""

from __future__ import annotations

from bgproxy import compiled
from bgproxy.protocol import request, response
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
]

if compiled.IS_USED:
    from bgproxy.protocol import _scan

    SCANNER = "compiled"
    read_request_head = _scan.read_request_head
    read_response_head = _scan.read_response_head
else:
    SCANNER = "python"
    read_request_head = request.read_request_head
    read_response_head = response.read_response_head
