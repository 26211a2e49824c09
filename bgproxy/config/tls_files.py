"""The files of certificates, keys and authorities that a configuration names: read and checked.

They are read once, when the file that names them is; what is served is what was checked. The last
good content of each is kept beside the state database, for a start at which a file is bad.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bgproxy.config.settings import (
    CertificateFiles,
    DegradedFile,
    Listener,
    ListenerTls,
    Settings,
)
from bgproxy.domain.model import Service
from bgproxy.domain.tls import Certificate, CertificateError, UpstreamTls

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]
"""The key's path, the problem, the remedy."""

MAX_BYTES = 4 * 1024 * 1024
_REMEDY = "name a PEM file that this process can read"
_REMEDIES = {"key": "name the private key of this certificate, without a password"}
_AUTHORITY = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(slots=True)
class TlsFiles:
    """What reading them showed.

    Args:
        settings: with the files' content; of a bad file that of its copy, or none.
        faults: every bad file, where no copy may stand in.
        warnings: what can be used, but not for long or by everybody.
    """

    settings: Settings
    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def read_tls_files(settings: Settings, copies: Copies | None = None) -> TlsFiles:
    """Read and check every file that a configuration names.

    Args:
        copies: stand in for bad files, which then are `Settings.degraded` and no faults; None
            where nothing may.
    """
    found = TlsFiles(settings)
    reader = _Reader(found, copies)
    listen = tuple(
        reader.listener(listener, ("proxy", "listen", index))
        for index, listener in enumerate(settings.proxy.listen)
    )
    places: dict[str, int] = {}
    previews = []
    for listener in settings.previews:
        place = places[listener.preview_of] = places.get(listener.preview_of, -1) + 1
        path = ("services", listener.preview_of, "preview", "listen", place)
        previews.append(reader.listener(listener, path))
    services = tuple(reader.service(service) for service in settings.services)
    found.settings = replace(
        settings,
        proxy=replace(settings.proxy, listen=listen),
        admin=replace(settings.admin, tls=reader.admin(settings.admin.tls)),
        services=services,
        previews=tuple(previews),
        degraded=tuple(reader.degraded),
    )
    return found


class _Reader:
    """Fills settings with content, and notes what is wrong with it."""

    def __init__(self, found: TlsFiles, copies: Copies | None) -> None:
        self._found = found
        self._copies = copies
        self.degraded: list[DegradedFile] = []

    def listener(self, listener: Listener, path: KeyPath) -> Listener:
        """A listener with its certificates' content."""
        if listener.tls is None:
            return listener
        filled = tuple(
            self._certificate(files, (*path, "tls", "certificates", index))
            for index, files in enumerate(listener.tls.certificates)
        )
        return replace(listener, tls=replace(listener.tls, certificates=filled))

    def admin(self, tls: ListenerTls | None) -> ListenerTls | None:
        """The admin listeners' TLS with its certificate's content."""
        if tls is None:
            return None
        filled = tuple(self._certificate(files, ("admin", "tls")) for files in tls.certificates)
        return replace(tls, certificates=filled)

    def service(self, service: Service) -> Service:
        """A service with its authorities' content."""
        if not service.upstream_tls.ca:
            return service
        file = Path(service.upstream_tls.ca)
        try:
            authorities = _authorities(file)
        except _FileError as error:
            authorities = self._copies.authorities(file) if self._copies else ""
            path: KeyPath = ("services", service.name, "upstream_tls", "ca")
            self._note(error, path, service.name, has_copy=bool(authorities))
        return replace(service, upstream_tls=replace(service.upstream_tls, authorities=authorities))

    def _certificate(self, files: CertificateFiles, path: KeyPath) -> CertificateFiles:
        content: Certificate | None
        try:
            chain = _read(files.certificate, "certificate")
            key = _read(files.key, "key")
            try:
                content = Certificate.read(chain, key)
            except CertificateError as error:
                file = files.key if error.part == "key" else files.certificate
                raise _FileError(file, error.problem, error.part) from None
        except _FileError as error:
            content = self._copies.certificate(files) if self._copies else None
            self._note(error, (*path, error.part), "", has_copy=content is not None)
        else:
            if content.not_after < time.time():
                end = datetime.fromtimestamp(content.not_after, UTC).date()
                self._found.warnings.append(
                    (
                        (*path, "certificate"),
                        f"{files.certificate} expired on {end}, clients will refuse it",
                        "renew it",
                    )
                )
        return replace(files, content=content)

    def _note(self, error: _FileError, path: KeyPath, service: str, *, has_copy: bool) -> None:
        if self._copies is None:
            remedy = _REMEDIES.get(error.part, _REMEDY) if error.is_content else _REMEDY
            self._found.faults.append((path, f"{error.file} {error}", remedy))
        else:
            self.degraded.append(DegradedFile(str(error.file), str(error), service, has_copy))


class _FileError(Exception):
    """A bad file; the text is read behind its name."""

    def __init__(self, file: Path, problem: str, part: str, *, is_content: bool = True) -> None:
        super().__init__(problem)
        self.file = file
        self.part = part
        self.is_content = is_content


def _read(file: Path, part: str) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _FileError(file, f"cannot be read: {reason}", part, is_content=False) from None
    if len(content) > MAX_BYTES:
        raise _FileError(file, f"is larger than {MAX_BYTES // 1024**2} MiB", part)
    return content


def _authorities(file: Path) -> str:
    """The certificates in a file; what people write between them is left out."""
    blocks = _AUTHORITY.findall(_read(file, "ca"))
    authorities = b"\n".join(blocks).decode("ascii")
    try:
        if authorities:
            UpstreamTls(ca=str(file), authorities=authorities).context()
            return authorities
    except ssl.SSLError:
        pass
    raise _FileError(file, "holds no certificate (PEM)", "ca")


class Copies:
    """The last good content of files, by the names under which a configuration knows them.

    One file beside the state database, which only its owner can read: private keys are in it.
    """

    def __init__(self, content: Mapping[str, list[str]]) -> None:
        self._content = dict(content)

    @classmethod
    def of(cls, settings: Settings) -> Copies:
        """What a configuration uses now."""
        content: dict[str, list[str]] = {}
        for tls in (*(each.tls for each in settings.listeners), settings.admin.tls):
            for files in tls.certificates if tls else ():
                if files.content is not None:
                    pair = files.content.chain, files.content.key
                    content[_name_of(files)] = [part.decode("latin-1") for part in pair]
        for service in settings.services:
            trust = service.upstream_tls
            if trust.authorities:
                content[trust.ca] = [trust.authorities]
        return cls(content)

    @classmethod
    def load(cls, state: Path) -> Copies:
        """Those beside a state database; none where they cannot be read."""
        try:
            content = json.loads(copies_beside(state).read_bytes())
        except (OSError, ValueError):
            return cls({})
        return cls(content if isinstance(content, dict) else {})

    def save(self, state: Path) -> None:
        """Put them beside a state database, in place of what was there.

        Raises:
            OSError: they cannot be written; what was there stays.
        """
        file = copies_beside(state)
        if not self._content:
            file.unlink(missing_ok=True)
            return
        fresh = file.with_name(file.name + ".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            json.dump(self._content, opened)
            opened.flush()
            os.fsync(descriptor)
        fresh.replace(file)

    def certificate(self, files: CertificateFiles) -> Certificate | None:
        """The last good one under these names."""
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            chain, key = self._content[_name_of(files)]
            return Certificate.read(chain.encode("latin-1"), key.encode("latin-1"))
        return None

    def authorities(self, file: Path) -> str:
        """The last good ones under this name; empty for none."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            (authorities,) = self._content[str(file)]
            return str(authorities)
        return ""


def copies_beside(state: Path) -> Path:
    """Where the copies stand."""
    return state.with_name(state.name + ".tls")


def _name_of(files: CertificateFiles) -> str:
    return f"{files.certificate}\n{files.key}"
