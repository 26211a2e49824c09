"""TLS of the admin listeners: one context for as long as they listen, whose certificate changes."""

from __future__ import annotations

import ssl

from bgproxy.config.settings import ListenerTls

HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a client may take."""


def admin_context(settings: ListenerTls) -> ssl.SSLContext:
    """What new connections are accepted with.

    Without a certificate that can be used every handshake fails, until `renew` brings one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    renew(context, settings)
    return context


def renew(context: ssl.SSLContext, settings: ListenerTls) -> None:
    """Have new connections see the certificate that was read last."""
    is_13_only = settings.min_version == "1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if is_13_only else ssl.TLSVersion.TLSv1_2
    for files in settings.certificates:
        if files.content is not None:
            files.content.load_into(context)
