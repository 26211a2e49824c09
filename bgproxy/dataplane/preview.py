"""Previews: requests that the idle environment answers, for those who hold the keys.

A preview claims apart from the service's own requests: on the environment that is idle when its
head is there, among backends that are ready and no others, without a queue and without regard to a
pause or maintenance, which are for the public. From there on it is an exchange like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from bgproxy.dataplane import failing
from bgproxy.domain.outcome import Reason
from bgproxy.domain.preview import (
    ASKING,
    Key,
    PreviewCookie,
    Purpose,
    is_signed,
    opened,
    sign,
)
from bgproxy.protocol.forwarding import first_untrusted

if TYPE_CHECKING:
    from bgproxy.dataplane.downstream import Downstream
    from bgproxy.dataplane.preview_keys import PreviewKeys
    from bgproxy.protocol.values import RequestHead

_TOLD = b"X-BGProxy-Preview: 1\r\n"
"""How a backend is told; what a client sends by this name never gets this far."""

_REFUSED = "preview_refused"
_IN_A_TARGET = "!#$%&'()*+,/:;=?@[]~-._"


def admit(client: Downstream, keys: PreviewKeys) -> bool:
    """Deal with a request to a service that has a preview.

    Returns:
        Whether it was dealt with: claimed, answered or refused. If not it is one like any other,
        and by now without whatever keys it held.
    """
    head = client.head
    cookie = keys.policy.cookie
    if cookie is not None and head.target.partition(b"?")[0] == cookie.path.encode():
        _answer_link(client, cookie)
        return True
    worker = client.worker
    now = worker.now + worker.epoch_offset
    held = keys.held_by(head, _address(client), now, is_apart=client.routes.is_apart)
    way = opened(keys.ways, held)
    if not way and held & ASKING:
        _refuse(client, keys, held)
        return True
    head.lines = keys.forget(head.lines, held)
    if way:
        _claim(client, head)
    elif keys.policy.marks_live:
        client.takes_answer_as_is = False
    return bool(way)


def _address(client: Downstream) -> str:
    """Who asks, as far as that is certain: a load balancer's own address is nobody's."""
    if not client.is_trusted:
        return client.client
    return first_untrusted(client.head.extras, client.worker.routes.trusts) or ""


def _claim(client: Downstream, head: RequestHead) -> None:
    """Claim on the idle environment, as `Downstream.claim` does on the active one.

    The claim's generation is the last in which that environment can have been active, so that a
    drain closes what is left of it as it does with other requests there.
    """
    worker = client.worker
    route = client.route
    word = worker.cells[route.word]
    client.environment = environment = route.previews[2 - (word & 0xFF)]
    client.generation = (word >> 8) - 1
    client.takes_answer_as_is = False
    backend = environment.choose(worker, route.limits.max_in_flight)
    if backend is None:
        if environment.candidates:
            detail = "all backends of the idle environment are full"
            failing.refuse_waiting(client, Reason.OVERLOADED, detail)
        else:
            detail = "the idle environment has no healthy backend"
            failing.refuse_waiting(client, Reason.NO_BACKEND, detail, "preview_unavailable")
        return
    worker.cells[backend.gauge] += 1
    client.backend = backend
    head.lines += _TOLD
    if not client.send_on_idle():
        client.tried = ()
        client.connect()


def _refuse(client: Downstream, keys: PreviewKeys, held: Key) -> None:
    """The request means the preview and lacks a key: it must not be taken for one to the public."""
    route = client.route
    if any(way in held | Key.USER for way in keys.ways):
        failing.refuse(
            client,
            401,
            _REFUSED,
            "the preview asks for a user and a password",
            route=route,
            fields=b'WWW-Authenticate: Basic realm="preview of %b", charset="UTF-8"\r\n'
            % route.name.encode(),
        )
    else:
        failing.refuse(client, 403, _REFUSED, "the preview is not open to this", route=route)


# -- the link that sets the cookie ----------------------------------------------------------------


def _answer_link(client: Downstream, cookie: PreviewCookie) -> None:
    """Set the cookie for a link that is signed and still good; without a token, take it back."""
    worker = client.worker
    service = client.route.name
    query = parse_qs(client.head.target.partition(b"?")[2].decode("latin-1"))
    token = query.get("token", [""])[0]
    now = worker.now + worker.epoch_offset
    if not token:
        _go_on(client, cookie, "", 0, "/")
    elif is_signed(token, cookie.secret, service, Purpose.LINK, now):
        value = sign(cookie.secret, service, Purpose.COOKIE, now + cookie.lifetime)
        _go_on(client, cookie, value, int(cookie.lifetime), query.get("to", ["/"])[0])
    else:
        detail = "this link to the preview is too old, or was never good"
        failing.refuse(client, 403, _REFUSED, detail, route=client.route)


def _go_on(client: Downstream, cookie: PreviewCookie, value: str, seconds: int, to: str) -> None:
    """Send the browser on to a path of the same host, with another cookie and an empty cache.

    What it has kept of the live environment, under the same addresses, would be shown in the
    preview, and the other way round.
    """
    if not to.startswith("/") or to[1:2] in ("/", "\\"):
        to = "/"
    attributes = f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"
    if _is_secure(client):
        attributes += "; Secure"
    hsts = client.route.hsts if client.scheme == b"https" else b""
    failing.note_refused(client, 303, "preview_link", client.route)
    client.transport.write(
        (
            f"HTTP/1.1 303 See Other\r\nLocation: {quote(to, safe=_IN_A_TARGET)}\r\n"
            f"Set-Cookie: {cookie.name}={value}; {attributes}\r\n"
            'Cache-Control: no-store\r\nClear-Site-Data: "cache"\r\n'
            "Referrer-Policy: no-referrer\r\nContent-Length: 0\r\nConnection: close\r\n"
        ).encode("latin-1")
        + client.worker.date_line
        + hsts
        + b"\r\n"
    )
    client.end(is_sending=client.body_left != 0)


def _is_secure(client: Downstream) -> bool:
    """Whether the client speaks TLS, to us or to a trusted proxy."""
    if client.scheme == b"https":
        return True
    said = (client.head.extras or {}).get(b"x-forwarded-proto", b"")
    return client.is_trusted and said.lower() == b"https"
