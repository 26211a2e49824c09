"""The keys of listeners with TLS, PROXY headers and redirects, and of TLS to backends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import core_schema

from bgproxy.config.readers import Choice, Number, Reader, Scalar, Text, refuse, with_variable
from bgproxy.config.sections import Many, Section, key
from bgproxy.config.settings import Address, CertificateFiles, Listener, ListenerTls, Network
from bgproxy.config.web_readers import Cidr, HostPattern, Listen
from bgproxy.domain.tls import UpstreamTls

_HTTPS_PORT = 443
_TLS = ListenerTls(())
_UPSTREAM = UpstreamTls()
_HSTS = re.compile(r"max-age=[0-9]{1,10}(; includeSubDomains)?(; preload)?")


@dataclass(frozen=True, slots=True)
class PemFile(Reader):
    """The path of a file with PEM in it; relative ones stay so.

    Args:
        is_optional: an empty one, for none, is taken, too.
    """

    is_optional: bool = False
    what: ClassVar[str] = "the path of a PEM file"

    def read(self, text: str) -> str:
        """The path."""
        return Text(least=0 if self.is_optional else 1, most=4000).read(text)

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


class Truth(Reader):
    """Yes or no."""

    what: ClassVar[str] = "true or false"

    def read(self, text: str) -> bool:
        """The truth value."""
        if text not in ("true", "false"):
            refuse(f"{text!r} is neither true nor false", "write true or false")
        return text == "true"

    def json_schema(self) -> dict[str, Any]:
        """A truth value, or a variable."""
        return with_variable({"type": "boolean"})


class RedirectPort(Reader):
    """Where to find TLS: ``true`` for the usual port, or a port; ``false`` is 0."""

    what: ClassVar[str] = "true, false or a port"

    def read(self, text: str) -> int:
        """The port."""
        words = (("false", 0), ("true", _HTTPS_PORT))
        return Number(least=1, most=65535, words=words).read(text)

    def json_schema(self) -> dict[str, Any]:
        """A truth value, a port, or a variable."""
        return with_variable(
            {"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": 65535}
        )

    def show(self, value: int) -> int | bool:
        """As it is written."""
        return value or False


class ServerName(Reader):
    """A name that a certificate may have; empty for the usual one."""

    what: ClassVar[str] = "a host name"

    def read(self, text: str) -> str:
        """The name, lower case."""
        return str(HostPattern(takes_wildcards=False).read(text)) if text else ""

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


class HstsValue(Reader):
    """A value of Strict-Transport-Security (RFC 6797 section 6.1); empty for none."""

    what: ClassVar[str] = "max-age=SECONDS"

    def read(self, text: str) -> str:
        """The text itself."""
        if text and not _HSTS.fullmatch(text):
            refuse(
                f"{text!r} is no value of Strict-Transport-Security",
                "write max-age=SECONDS, and '; includeSubDomains' and '; preload' behind it",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["max-age=31536000; includeSubDomains"]}


class CertificateSection(Section):
    """A certificate and its key."""

    certificate: Annotated[str, PemFile()] = key(
        ..., "PEM file of the certificate, its intermediates behind it."
    )
    key: Annotated[str, PemFile()] = key(..., "PEM file of its private key, without a password.")

    def build(self) -> CertificateFiles:
        """The settings, without content yet."""
        return CertificateFiles(Path(self.certificate), Path(self.key))


class ListenerTlsSection(Section):
    """How a listener speaks TLS."""

    certificates: Annotated[tuple[CertificateSection, ...], Field(min_length=1)] = key(
        ..., "Chosen by the name that a client asks for (SNI); the first where none fits."
    )
    min_version: Annotated[str, Choice(("1.2", "1.3"))] = key(
        _TLS.min_version, "The least version of TLS that is spoken."
    )

    def build(self) -> ListenerTls:
        """The settings."""
        return ListenerTls(tuple(each.build() for each in self.certificates), self.min_version)


class ProxyProtocolSection(Section):
    """PROXY headers, versions 1 and 2."""

    sources: Annotated[tuple[Network, ...], Many(Cidr(), takes_one=True, least=1)] = key(
        ...,
        "Networks of the load balancers that begin every connection with a PROXY header; "
        "connections from elsewhere are closed.",
        name="from",
    )


class ListenerSection(Section):
    """One listener; its address alone where plain HTTP is all."""

    address: Annotated[Address, Listen(takes_names=True)] = key(
        ...,
        "`address:port`, `[v6]:port`, `name:port` or `unix:PATH`; a name is looked up at the "
        "start, and every address behind it is listened on.",
    )
    tls: ListenerTlsSection | None = Field(None, description="TLS, if any.")
    proxy_protocol: ProxyProtocolSection | None = Field(
        None, description="PROXY headers, if any; before TLS where there is both."
    )
    redirect_to_https: Annotated[int, RedirectPort()] = key(
        0,
        "Answer 308 to the same place over TLS: `true` for the usual port, or a port. "
        "`/.well-known/acme-challenge/` is served all the same.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ListenerSection:
        if self.tls is not None and self.redirect_to_https:
            refuse(
                "this listener has TLS already: it would send clients in a circle",
                "remove it, or give plain HTTP a listener of its own",
                key="redirect_to_https",
            )
        if self.proxy_protocol is not None and self.address.path:
            refuse(
                "who connects to a unix socket has no address, so none of them is listed",
                "remove it",
                key="proxy_protocol",
            )
        return self

    def build(self, preview_of: str = "") -> Listener:
        """The settings; see `Listener.preview_of`."""
        return Listener(
            self.address,
            self.tls.build() if self.tls else None,
            self.proxy_protocol.sources if self.proxy_protocol else (),
            self.redirect_to_https,
            preview_of,
        )


class TextOrListener:
    """A plain text among the listeners is an address."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._listener, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [Listen(takes_names=True).json_schema(), handler(schema)]}

    def _listener(self, given: object) -> object:
        return given if isinstance(given, dict) else {"address": given}


@dataclass(frozen=True, slots=True)
class ListOfListeners:
    """A list of listeners, or one without the list.

    Args:
        least: how many there must be.
    """

    least: int = 1

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed | {"minItems": self.least}]}

    def show(self, value: tuple[ListenerSection, ...]) -> str | list[str]:
        """The default, which is a single address or none."""
        addresses = [str(each.address) for each in value]
        return addresses[0] if len(addresses) == 1 else addresses

    def _listed(self, given: object) -> object:
        if isinstance(given, Scalar) and given.is_null:
            refuse("the value is missing", "write a list, or remove the key")
        if not isinstance(given, list):
            return [given]
        if len(given) < self.least:
            refuse("the list is empty", f"write at least {self.least} in it")
        return given


class UpstreamTlsSection(Section):
    """What the certificates of this service's `https` backends must show."""

    ca: Annotated[str, PemFile(is_optional=True)] = key(
        _UPSTREAM.ca,
        "PEM file of the authorities that may have signed them; without it those of the system.",
    )
    server_name: Annotated[str, ServerName()] = key(
        _UPSTREAM.server_name,
        "The name that they must be for, and that is asked for (SNI); empty for the host in the "
        "backend's address.",
    )
    verify: Annotated[bool, Truth()] = key(
        _UPSTREAM.verify, "`false` takes any certificate: whoever sits between can read and change."
    )

    @model_validator(mode="after")
    def _is_of_use(self) -> UpstreamTlsSection:
        if self.ca and not self.verify:
            refuse("this says nothing while verify is false", "remove one of both", key="ca")
        return self

    def build(self) -> UpstreamTls:
        """The domain's value, without content yet."""
        return UpstreamTls(**self.values())
