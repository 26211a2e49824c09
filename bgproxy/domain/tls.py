"""Certificates and trust: what a listener shows its clients, what a backend must show."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_NOT_A_PAIR = "KEY_VALUES_MISMATCH"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain, and its private key; `read` makes one. Nothing shows the key.

    Args:
        chain, key: PEM.
        names: the host names it is for, lower case; ``*.example.com`` for any one label.
        not_after: Unix time at which it expires.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    not_after: float = 0.0

    @classmethod
    def read(cls, chain: bytes, key: bytes) -> Certificate:
        """Check that both can be used together.

        Raises:
            CertificateError: they cannot.
        """
        facts = _decode(chain)
        certificate = cls(chain, key, _names_of(facts), _time_of(facts["notAfter"]))
        try:
            certificate.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except CertificateError:
            raise
        except (ssl.SSLError, ValueError, OSError) as error:
            reason = getattr(error, "reason", None)
            if reason == _NOT_A_PAIR:
                raise CertificateError("key", "is the key of another certificate") from None
            if reason and reason.startswith("EE_KEY"):
                raise CertificateError("certificate", "has too weak a key") from None
            raise CertificateError("key", "holds no private key (PEM)") from None
        return certificate

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a server's context show this certificate.

        Raises:
            CertificateError: the key needs a password.
            ssl.SSLError: they are no certificate and key, or do not belong together.
        """
        with _as_file(self.chain) as chain, _as_file(self.key) as key:
            context.load_cert_chain(chain, key, password=_no_password)


class CertificateError(ValueError):
    """A file that cannot be used.

    Args:
        part: ``certificate`` or ``key``.
        problem: what is wrong, to be read behind the file's name.
    """

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(problem)
        self.part = part
        self.problem = problem


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """What a backend's certificate must show.

    Args:
        ca: the file of the authorities that may have signed it; empty for the system's own.
        server_name: the name it must have, which is also asked for (SNI); empty for the backend's
            host as it was written.
        verify: False takes any certificate.
        authorities: the file's content, PEM; it counts as soon as `ca` names a file, so that one
            that could not be read trusts nobody.
    """

    ca: str = ""
    server_name: str = ""
    verify: bool = True
    authorities: str = field(default="", repr=False)

    def context(self) -> ssl.SSLContext:
        """What connections to backends are made with; equal settings share one.

        Raises:
            ssl.SSLError: the authorities are no certificates.
        """
        return _client_context(self)


@lru_cache(maxsize=256)
def _client_context(settings: UpstreamTls) -> ssl.SSLContext:
    """Kept, because reading the system's authorities takes some 20 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not settings.ca:
        context.set_default_verify_paths()
    elif settings.authorities:
        context.load_verify_locations(cadata=settings.authorities)
    return context


def _no_password() -> str:
    """Without this the library would ask on the terminal."""
    raise CertificateError("key", "is encrypted, and there is nobody to type its password")


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A file that exists in memory only; the library reads nothing else."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _decode(chain: bytes) -> dict[str, Any]:
    """The first certificate's facts, in the form of `ssl.SSLSocket.getpeercert`.

    The library decodes without a handshake only through this function of its own tests, which has
    been there since Python 2.6; the other way would be a parser of our own.
    """
    with _as_file(chain) as path:
        try:
            facts: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]  # noqa: SLF001
        except ssl.SSLError:
            raise CertificateError("certificate", "holds no certificate (PEM)") from None
    return facts


def _names_of(facts: dict[str, Any]) -> tuple[str, ...]:
    """Alternative names only: the common name has not counted since RFC 6125."""
    names = (value for kind, value in facts.get("subjectAltName", ()) if kind == "DNS")
    return tuple(name.lower() for name in names)


def _time_of(text: str) -> float:
    return float(ssl.cert_time_to_seconds(text))
