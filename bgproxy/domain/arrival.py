"""Why a connection never became a client: what stands before HTTP was not as it must be."""

from __future__ import annotations

import enum


class HandshakeFault(enum.IntEnum):
    """Why a client's TLS handshake failed; the number is its cell in the ledger."""

    CLOSED = 0
    """The client went away, as load balancers and scanners do that only try the port."""

    TIMEOUT = 1
    PLAIN_HTTP = 2
    VERSION = 3
    """None that both speak."""

    CIPHER = 4
    """None that both know; or the listener has no certificate left that could be used."""

    CERTIFICATE_REFUSED = 5
    """The client does not trust what it was shown."""

    PROTOCOL = 6
    """Anything else that is no TLS, or broken."""

    @property
    def label(self) -> str:
        """As metrics show it."""
        return self.name.lower()


class ProxyHeaderFault(enum.IntEnum):
    """Why a connection was closed that a PROXY header should have begun; likewise."""

    NOT_LISTED = 0
    """Whoever connected may not say for whom it speaks."""

    MALFORMED = 1
    TIMEOUT = 2
    CLOSED = 3

    @property
    def label(self) -> str:
        """As metrics show it."""
        return self.name.lower()


def fault_of_tls(reason: str | None) -> HandshakeFault:
    """What an error of the TLS library means.

    Args:
        reason: as `ssl.SSLError.reason` has it.
    """
    reason = reason or ""
    if reason in ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST"):
        return HandshakeFault.PLAIN_HTTP
    if reason == "WRONG_VERSION_NUMBER":  # of a record: these are no records
        return HandshakeFault.PROTOCOL
    if "VERSION" in reason or reason == "UNSUPPORTED_PROTOCOL":
        return HandshakeFault.VERSION
    if "CIPHER" in reason or "SIGNATURE_ALGORITHM" in reason or "HANDSHAKE_FAILURE" in reason:
        return HandshakeFault.CIPHER
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return HandshakeFault.CERTIFICATE_REFUSED
    return HandshakeFault.PROTOCOL
