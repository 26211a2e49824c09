"""Where one proxy stands in a measurement: its ports, its files, what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

HOST = "shop.example.com"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM: the chain, its key, and both in one as some programs want it."""

    chain: Path
    key: Path
    both: Path

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        """A new one (ECDSA P-256) by an authority that nobody trusts."""
        issued = trustme.CA().issue_cert(HOST, "127.0.0.1")
        made = cls(folder / "chain.pem", folder / "key.pem", folder / "both.pem")
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        made.chain.write_bytes(chain)
        made.key.write_bytes(issued.private_key_pem.bytes())
        made.both.write_bytes(chain + issued.private_key_pem.bytes())
        return made


@dataclass(frozen=True, slots=True)
class Site:
    """What a proxy is told.

    Args:
        folder: its own, for whatever it reads and writes.
        port, tls_port: of 127.0.0.1, where it shall listen.
        admin: a port for its admin API, if it has one.
        backend, other_backend: ports of the two environments; the same if only one is needed.
    """

    folder: Path
    port: int
    tls_port: int
    admin: int
    backend: int
    other_backend: int
    certificate: Certificate

    def write(self, name: str, text: str) -> str:
        """Put a file into the folder. Returns its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)
