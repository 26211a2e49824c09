"""Bytes that the proxy writes in its own name: error answers and the framing of chunks."""

from __future__ import annotations

import html
import json
import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

LAST_CHUNK = b"0\r\n\r\n"
"""What ends a body in chunks that has no trailers."""

_JSON, _HTML, _TEXT = "application/problem+json", "text/html", "text/plain"

_NEW_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}
"""Those of RFC 9110 section 15.5 that the standard library of Python 3.11 has in older words."""

_PLACEHOLDER = re.compile(rb"\{\{ *(status|title|detail|reason) *\}\}")

_PROXY_ERRORS = {
    "connect_refused": "connection_refused",
    "connect_timeout": "connection_timeout",
    "connect_failed": "destination_unavailable",
    "response_timeout": "http_response_timeout",
    "reset": "connection_terminated",
    "truncated": "http_response_incomplete",
    "bad_response": "http_protocol_error",
    "no_backend": "destination_unavailable",
    "tls_failed": "tls_protocol_error",
    "overloaded": "connection_limit_reached",
    "too_many_connections": "connection_limit_reached",
    "unknown_service": "destination_not_found",
    "maintenance": "destination_unavailable",
    "paused": "destination_unavailable",
    "preview_unavailable": "destination_unavailable",
    "preview_refused": "http_request_denied",
    "drained": "destination_unavailable",
    "worker_died": "proxy_internal_error",
}
"""Our reasons in the words of RFC 9209 section 2.3; what is not named is the request's fault."""


@lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    """A Date field with its CRLF (RFC 9110 section 6.6.1).

    Args:
        second: Unix time, whole, so that a second's answers share one.
    """
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")


def request_head(lines: bytes, fields: bytes, number: int, milliseconds: float) -> bytes:
    """A plain request's head as it goes on: what came, and behind it what is ours.

    Args:
        lines: request line and fields, each with its CRLF.
        fields: of ours, up to the place in the last of them where the request's number follows.
        number: of the request, 0 to 2**64 - 1.
        milliseconds: Unix time of the request's start, 0 to 2**63 - 1.
    """
    tail = b"%x\r\nX-Request-Start: t=%d\r\n\r\n" % (number, milliseconds)
    return b"".join((lines, fields, tail))


def small_answer(lines: bytes, fields: bytes, data: bytes, end: int) -> bytes:
    """An answer as it goes on, in one piece: worth its copy where there is not much of a body.

    Args:
        lines: status line and fields, each with its CRLF.
        fields: of ours, likewise.
        data: what came of the answer.
        end: where its body begins in that, 0 to its length.
    """
    return b"".join((lines, fields, b"\r\n", data[end:]))


def chunk_head(size: int) -> bytes:
    """The line before a chunk's payload; behind it comes a CRLF (RFC 9112 section 7.1).

    Args:
        size: of the payload, above 0: a chunk of 0 bytes would end the body.
    """
    return b"%x\r\n" % size


def error_answer(
    status: int,
    reason: str,
    detail: str,
    *,
    keep_alive: bool,
    accept: bytes = b"",
    retry_after: int | None = None,
    head_only: bool = False,
    proxy_error: str = "",
    page: bytes | None = None,
    fields: bytes = b"",
    now: float | None = None,
) -> bytes:
    """A whole answer, head and small body, that says what went wrong.

    Args:
        status: of the answer.
        reason: a stable word for machines, in the body and as far as RFC 9209 has it in
            Proxy-Status.
        detail: one sentence for people.
        keep_alive: False writes ``Connection: close``.
        accept: the request's Accept, which chooses problem+json (RFC 9457), HTML or plain text.
        retry_after: seconds for Retry-After, where the client may come back.
        head_only: leave the body out; for HEAD.
        proxy_error: error type for Proxy-Status, where `reason` does not imply it.
        page: HTML to send in place of ours to who prefers HTML. ``{{status}}``, ``{{title}}``,
            ``{{detail}}`` and ``{{reason}}`` in it are filled in.
        fields: further field lines, each with its CRLF; a Cache-Control in them is the only one.
        now: Unix time for a Date field, which is left out otherwise.
    """
    media_type = _preferred_type(accept.decode("latin-1"))
    if page is not None and media_type == _HTML:
        body = _filled(page, status, reason, detail)
    else:
        body = _body(media_type, status, reason, detail)
    error = proxy_error or _PROXY_ERRORS.get(reason, "http_request_error")
    lines = [
        f"HTTP/1.1 {status} {_phrase(status)}",
        f"Content-Type: {media_type}" + ("" if media_type == _JSON else "; charset=utf-8"),
        f"Content-Length: {len(body)}",
        *(() if b"Cache-Control:" in fields else ("Cache-Control: no-store",)),
        f"Proxy-Status: bgproxy; error={error}; details={_quoted(reason)}",
    ]
    if now is not None:
        lines.append(f"Date: {formatdate(now, usegmt=True)}")
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    if not keep_alive:
        lines.append("Connection: close")
    head = "\r\n".join([*lines, ""]).encode("latin-1") + fields + b"\r\n"
    return head if head_only else head + body


def _phrase(status: int) -> str:
    try:
        return _NEW_PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _quoted(text: str) -> str:
    """A string of structured fields (RFC 8941 section 3.3.3), which knows visible ASCII only."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _body(media_type: str, status: int, reason: str, detail: str) -> bytes:
    title = _phrase(status)
    if media_type == _JSON:
        problem = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            "reason": reason,
        }
        return json.dumps(problem).encode() + b"\n"
    if media_type == _HTML:
        text = html.escape(f"{detail} ({reason})")
        return (
            f'<!doctype html>\n<html lang="en"><head><title>{status} {title}</title></head>'
            f"<body><h1>{status} {title}</h1><p>{text}</p></body></html>\n"
        ).encode()
    return f"{status} {title}: {detail} ({reason})\n".encode()


def _filled(page: bytes, status: int, reason: str, detail: str) -> bytes:
    """A page with its placeholders filled in; nothing that stands for one can be markup."""
    values = {"status": str(status), "title": _phrase(status), "detail": detail, "reason": reason}
    return _PLACEHOLDER.sub(lambda match: html.escape(values[match[1].decode()]).encode(), page)


def _preferred_type(accept: str) -> str:
    """The best of our three types for an Accept field (RFC 9110 section 12.5.1).

    Browsers name HTML, programs JSON; for who takes anything, plain text reads best.
    """
    best, best_weight = _TEXT, 0.0
    for member in accept.lower().split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name in ("text/html", "application/xhtml+xml"):
            media_type = _HTML
        elif name in ("application/json", "application/*") or name.endswith("+json"):
            media_type = _JSON
        elif name in ("text/plain", "text/*", "*/*"):
            media_type = _TEXT
        else:
            continue
        weight = _weight(parameters)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def _weight(parameters: list[str]) -> float:
    """The weight among a member's parameters; 1 where there is none, 0 where it is malformed."""
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0
