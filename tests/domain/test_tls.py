"""Certificates and trust as values: what is read of them, and what they do not tell."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
import trustme

from bgproxy.domain.tls import Certificate, CertificateError, UpstreamTls


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs what is read here."""
    return trustme.CA()


def pem(issued: trustme.LeafCert) -> tuple[bytes, bytes]:
    """The two files' content."""
    return b"".join(part.bytes() for part in issued.cert_chain_pems), issued.private_key_pem.bytes()


def test_names_and_expiry_are_read(authority):
    """Lower case; addresses are no names that a client could ask for."""
    end = datetime(2031, 2, 3, tzinfo=UTC)
    issued = authority.issue_cert("A.test", "*.b.test", "127.0.0.1", not_after=end)
    certificate = Certificate.read(*pem(issued))
    assert certificate.names == ("a.test", "*.b.test")
    assert certificate.not_after == end.timestamp()


def test_one_file_may_be_both(authority):
    """As many tools write them: key and chain in one."""
    chain, key = pem(authority.issue_cert("a.test"))
    both = chain + key
    assert Certificate.read(both, both).names == ("a.test",)


def test_what_does_not_belong_together_is_told(authority):
    """Which part of it is at fault."""
    chain, key = pem(authority.issue_cert("a.test"))
    _, other = pem(authority.issue_cert("a.test"))
    for given, part in (
        ((chain, other), "key"),
        ((key, key), "certificate"),
        ((chain, b""), "key"),
    ):
        with pytest.raises(CertificateError) as error:
            Certificate.read(*given)
        assert error.value.part == part


def test_nothing_shows_a_key(authority):
    """Neither representation nor error."""
    chain, key = pem(authority.issue_cert("a.test"))
    secret = key.splitlines()[1].decode()
    assert secret not in repr(Certificate.read(chain, key))
    with pytest.raises(CertificateError) as error:
        Certificate.read(key, key)
    assert secret not in repr(error.value)


def test_equal_settings_share_a_context(authority):
    """Reading the system's authorities is dear."""
    text = authority.cert_pem.bytes().decode()
    first = UpstreamTls("ca.pem", authorities=text).context()
    assert UpstreamTls("ca.pem", authorities=text).context() is first
    assert UpstreamTls().context() is not first


def test_verification_is_off_only_where_it_is_asked_for():
    """A file that could not be read leaves nobody to trust."""
    for settings in (UpstreamTls(), UpstreamTls(ca="gone.pem"), UpstreamTls(server_name="x")):
        assert settings.context().verify_mode is ssl.CERT_REQUIRED
        assert settings.context().check_hostname
    assert UpstreamTls(ca="gone.pem").context().get_ca_certs() == []
    assert UpstreamTls(verify=False).context().verify_mode is ssl.CERT_NONE
