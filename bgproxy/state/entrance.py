"""What a worker must know of each listening socket beside the socket itself.

It goes to the workers over their socket pairs in a message of its own: certificates change seldom,
routing tables often.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgproxy.domain.tls import Certificate


@dataclass(frozen=True, slots=True)
class TlsRoute:
    """How a listener speaks TLS.

    Args:
        certificates: chosen by the name the client asks for; the first where none fits. Without
            any every handshake fails.
        min_version: ``1.2`` or ``1.3``.
    """

    certificates: tuple[Certificate, ...]
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class EntranceRoute:
    """One listener.

    Args:
        tls: None for plain HTTP.
        proxy_from: networks, as text, of the load balancers that begin every connection with a
            PROXY header; empty where nobody does.
        https_port: where requests are redirected to; 0 to serve them.
        preview: the listener's address if it is that of a preview, as in `Preview.listen`.
    """

    tls: TlsRoute | None = None
    proxy_from: tuple[str, ...] = ()
    https_port: int = 0
    preview: str = ""
