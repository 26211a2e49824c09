"""What errors of the TLS library mean, in words that metrics have."""

from __future__ import annotations

import pytest

from bgproxy.domain.arrival import HandshakeFault, fault_of_tls


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("HTTP_REQUEST", HandshakeFault.PLAIN_HTTP),
        ("UNSUPPORTED_PROTOCOL", HandshakeFault.VERSION),
        ("TLSV1_ALERT_PROTOCOL_VERSION", HandshakeFault.VERSION),
        ("NO_SHARED_CIPHER", HandshakeFault.CIPHER),
        ("NO_SUITABLE_SIGNATURE_ALGORITHM", HandshakeFault.CIPHER),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", HandshakeFault.CIPHER),
        ("TLSV1_ALERT_UNKNOWN_CA", HandshakeFault.CERTIFICATE_REFUSED),
        ("SSLV3_ALERT_BAD_CERTIFICATE", HandshakeFault.CERTIFICATE_REFUSED),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", HandshakeFault.CERTIFICATE_REFUSED),
        ("WRONG_VERSION_NUMBER", HandshakeFault.PROTOCOL),
        ("BAD_KEY_SHARE", HandshakeFault.PROTOCOL),
        (None, HandshakeFault.PROTOCOL),
    ],
)
def test_each_error_has_a_fault(reason: str | None, fault: HandshakeFault) -> None:
    """By OpenSSL's names, of which there are hundreds."""
    assert fault_of_tls(reason) is fault
