"""Files of certificates: read, checked, and what stands in for bad ones at a later start."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bgproxy.config.describe import describe
from bgproxy.config.load import load_config
from bgproxy.config.settings import DegradedFile, Settings
from bgproxy.config.tls_files import Copies, copies_beside
from bgproxy.errors import ConfigError, Fault
from tests.config.files import ENVIRONMENTS


class Folder:
    """A configuration with a certificate and an authority, all good at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority = trustme.CA()
        self.file = path / "bgproxy.yaml"
        self.state = path / "state.db"
        self.certificate, self.key = path / "a.pem", path / "a.key"
        self.ca = path / "ca.pem"
        self.issue("a.test", "*.b.test")
        self.ca.write_bytes(b"Our own, \xe4h\n" + self.authority.cert_pem.bytes() + b"\n# end\n")
        self.file.write_text(
            f"""\
proxy:
  listen:
    - address: 127.0.0.1:80
      tls: {{certificates: [{{certificate: {self.certificate}, key: {self.key}}}]}}
state: {self.state}
services:
  default:
    upstream_tls: {{ca: {self.ca}}}
{ENVIRONMENTS}"""
        )

    def issue(self, *names: str, **options: object) -> None:
        """Write another certificate and its key."""
        issued = self.authority.issue_cert(*names, **options)  # type: ignore[arg-type]
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    def load(self, *, uses_copies: bool = False) -> Settings:
        """Read it."""
        return load_config(self.file, {}, uses_copies=uses_copies)

    def fault(self, *, uses_copies: bool = False) -> Fault:
        """The only thing that is wrong."""
        with pytest.raises(ConfigError) as error:
            self.load(uses_copies=uses_copies)
        (found,) = error.value.faults
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """All files good."""
    return Folder(tmp_path)


def content_of(settings: Settings):
    """What the only listener shows."""
    (listener,) = settings.proxy.listen
    assert listener.tls is not None
    (files,) = listener.tls.certificates
    return files.content


def test_files_are_read_with_the_configuration(folder):
    """Names and expiry are known; what people write between authorities is left out."""
    settings = folder.load()
    content = content_of(settings)
    assert content.chain == folder.certificate.read_bytes()
    assert content.names == ("a.test", "*.b.test")
    assert content.not_after > 4e9
    (service,) = settings.services
    assert service.upstream_tls.authorities.startswith("-----BEGIN CERTIFICATE-----")
    assert "Our own" not in service.upstream_tls.authorities
    assert settings.degraded == ()


def test_check_says_what_clients_meet_and_who_is_believed(folder):
    """Names instead of files' content."""
    text = folder.file.read_text()
    listeners = """\
  listen:
    - {address: 127.0.0.1:81, redirect_to_https: true, proxy_protocol: {from: 10.0.0.0/8}}
"""
    backend = text.replace("http://127.0.0.1:9001", "https://127.0.0.1:9001")
    folder.file.write_text(backend.replace("  listen:\n", listeners))
    said = " ".join(describe(folder.load()).split())
    assert "127.0.0.1:80 with TLS 1.2 and up for a.test and *.b.test" in said
    assert (
        "127.0.0.1:81 redirecting to https on port 443 behind PROXY headers from 10.0.0.0/8" in said
    )
    assert (
        "https backends with a certificate for the host in its address, signed by an authority in "
        f"{folder.ca}" in said
    )
    folder.file.write_text(backend.replace("{ca: ", "{verify: false} #"))
    assert "any certificate of an https backend" in describe(folder.load())


def test_no_key_is_shown(folder):
    """Neither by the settings nor by what is in them."""
    settings = folder.load()
    assert "PRIVATE KEY" not in repr(settings) + repr(content_of(settings))


def _encrypted() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize(
    ("file", "content", "key", "problem"),
    [
        ("certificate", None, "certificates.0.certificate", "cannot be read: No such file"),
        ("certificate", b"nothing", "certificates.0.certificate", "holds no certificate"),
        ("key", None, "certificates.0.key", "cannot be read: No such file"),
        ("key", b"nothing", "certificates.0.key", "holds no private key"),
        ("key", _encrypted(), "certificates.0.key", "is encrypted"),
        (
            "key",
            trustme.CA().issue_cert("a.test").private_key_pem.bytes(),
            "certificates.0.key",
            "is the key of another certificate",
        ),
        ("ca", None, "upstream_tls.ca", "cannot be read: No such file"),
        ("ca", b"nothing", "upstream_tls.ca", "holds no certificate"),
        (
            "ca",
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "upstream_tls.ca",
            "holds no certificate",
        ),
        ("ca", bytes(5 * 1024**2), "upstream_tls.ca", "is larger than 4 MiB"),
    ],
)
def test_a_bad_file_is_a_fault_with_its_name(folder, file, content, key, problem):
    """At its key's place; also at a first start, when copies would be welcome."""
    path = getattr(folder, file)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for uses_copies in (False, True):
        found = folder.fault(uses_copies=uses_copies)
        assert found.path.endswith(key)
        assert found.problem.startswith(f"{path} {problem}")
        assert found.line == (8 if file == "ca" else 4)


@pytest.mark.parametrize("file", ["certificate", "key", "ca"])
def test_at_a_later_start_the_last_good_content_stands_in(folder, file):
    """And it is told which file is bad."""
    good = folder.load()
    Copies.of(good).save(folder.state)
    folder.state.touch()
    path = getattr(folder, file)
    path.write_text("nothing")
    later = folder.load(uses_copies=True)
    assert content_of(later) == content_of(good)
    assert later.services == good.services
    service = "default" if file == "ca" else ""
    assert [(d.file, d.service, d.has_copy) for d in later.degraded] == [(str(path), service, True)]
    assert folder.fault().problem.startswith(str(path))


def test_without_a_copy_only_what_needs_the_file_goes_without(folder):
    """A listener without a certificate, a service that trusts nobody."""
    folder.state.touch()
    folder.ca.unlink()
    folder.key.write_text("nothing")
    settings = folder.load(uses_copies=True)
    assert content_of(settings) is None
    assert settings.services[0].upstream_tls.authorities == ""
    assert settings.services[0].upstream_tls.ca == str(folder.ca)
    assert settings.degraded == (
        DegradedFile(str(folder.key), "holds no private key (PEM)", "", False),
        DegradedFile(str(folder.ca), "cannot be read: No such file or directory", "default", False),
    )


def test_only_the_owner_can_read_the_copies(folder):
    """Private keys are in them; the file goes when nothing is left to keep."""
    settings = folder.load()
    old_mask = os.umask(0)
    try:
        Copies.of(settings).save(folder.state)
    finally:
        os.umask(old_mask)
    file = copies_beside(folder.state)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Copies({}).save(folder.state)
    assert list(folder.path.glob("state.db*")) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"x": 1}', b"\xff"])
def test_copies_that_cannot_be_read_are_none(folder, content):
    """Damage to them is no reason not to start."""
    copies_beside(folder.state).write_bytes(content)
    folder.state.touch()
    folder.ca.unlink()
    assert [d.has_copy for d in folder.load(uses_copies=True).degraded] == [False]


def test_an_expired_certificate_is_worth_a_warning(folder):
    """It can be used, and somebody may have a reason to."""
    from datetime import UTC, datetime

    folder.issue("a.test", not_after=datetime(2020, 1, 2, tzinfo=UTC))
    settings = folder.load()
    assert content_of(settings) is not None
    (warning,) = settings.warnings
    assert f"{folder.certificate} expired on 2020-01-02" in warning.problem
    assert warning.line == 4
