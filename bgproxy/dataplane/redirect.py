"""From plain HTTP to TLS: the connections of a listener that only sends clients on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgproxy.dataplane import failing
from bgproxy.dataplane.downstream import Downstream

if TYPE_CHECKING:
    from bgproxy.dataplane.preview_keys import PreviewKeys
    from bgproxy.dataplane.worker import Worker

_ACME = b"/.well-known/acme-challenge/"
_USUAL_PORT = 443


class RedirectingDownstream(Downstream):
    """A client's connection whose requests are sent on to the same place over TLS.

    Two kinds are carried all the same: a certificate authority's look at
    /.well-known/acme-challenge/, which begins with plain HTTP (RFC 8555 section 8.3), and what a
    trusted proxy says came to it over TLS.

    Args:
        https_port: where to; named where it is not the usual one.
    """

    __slots__ = ("_https_port",)

    def __init__(self, worker: Worker, client: str, https_port: int) -> None:
        super().__init__(worker, client=client)
        self._https_port = https_port

    def enter_preview(self, keys: PreviewKeys) -> bool:
        """Only over TLS, but for those that are carried."""
        return self._is_exempt() and super().enter_preview(keys)

    def claim(self) -> None:
        """Redirect instead, mostly."""
        if self._is_exempt():
            super().claim()
        elif name := self._name():
            self._send_on(name)
        else:
            failing.refuse(self, 400, "missing_host", "the request names no host to go on to")

    def _is_exempt(self) -> bool:
        head = self.head
        if head.target.startswith(_ACME):
            return True
        scheme = (head.extras or {}).get(b"x-forwarded-proto", b"")
        return self.is_trusted and scheme.lower() == b"https"

    def _name(self) -> bytes:
        """The host that the client asked, with the port of TLS."""
        host = self.head.host
        name, colon, port = host.rpartition(b":")
        if not colon or (port and not port.isdigit()):
            name = host
        if name and self._https_port != _USUAL_PORT:
            name += b":%d" % self._https_port
        return name

    def _send_on(self, name: bytes) -> None:
        """Method and body are to be sent again (RFC 9110 section 15.4.9)."""
        target = self.head.target
        failing.note_refused(self, 308, "redirect", self.route)
        self.transport.write(
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://%b%b\r\n"
            b"Content-Length: 0\r\n%bConnection: close\r\n\r\n"
            % (name, target if target.startswith(b"/") else b"/", self.worker.date_line)
        )
        self.end(is_sending=self.body_left != 0)
