"""The one door to heads: the values, and the two readers, compiled where that could be built.

The scanner, or where there is none the reader of plain heads in Python, answers for plain heads and
hands every other one to the reference, so which of them is at work shows in the time it takes and
in nothing else. ``BGPROXY_SCANNER=python`` in the environment has none of it compiled.
"""

from __future__ import annotations

import os

from bgproxy.protocol import plain
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

try:
    if os.environ.get("BGPROXY_SCANNER") == "python":
        raise ImportError("the reference is asked for")
    from bgproxy.protocol import _scan as _reader

    SCANNER = "compiled"
except ImportError:
    SCANNER = "python"
    read_request_head = plain.read_request_head
    read_response_head = plain.read_response_head
else:
    read_request_head = _reader.read_request_head
    read_response_head = _reader.read_response_head
