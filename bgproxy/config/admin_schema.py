"""The keys of the admin side: listeners, tokens, and what may be set over the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bgproxy.config.readers import Choice, Reader, Scalar, Text, read_or_refuse, refuse
from bgproxy.config.sections import Many, Section, key
from bgproxy.config.settings import (
    MAX_UNIX_PATH_BYTES,
    Address,
    AdminSettings,
    ListenerTls,
)
from bgproxy.config.tls_schema import CertificateSection, Truth
from bgproxy.config.token_schema import TextOrToken, TokenSection
from bgproxy.config.web_readers import HostPattern, Listen
from bgproxy.domain.allow_list import AllowList, AllowRule

_ADMIN = AdminSettings()
_OFF = ("off", "false")


@dataclass(frozen=True, slots=True)
class SocketPath(Reader):
    """Where the socket of this machine's users is: a path, the word for the usual one, or off."""

    what: ClassVar[str] = "auto, off or the path of a socket"

    def read(self, text: str) -> str:
        """The path, `AUTO_SOCKET`, or nothing for off."""
        path = Text(least=1).read(text).removeprefix("unix:")
        if path in _OFF:
            return ""
        if path.endswith("/") or "\0" in path or len(path.encode()) > MAX_UNIX_PATH_BYTES:
            refuse(
                f"{text!r} is not the path of a socket",
                f"write one of at most {MAX_UNIX_PATH_BYTES} bytes, or off",
            )
        return path

    def json_schema(self) -> dict[str, Any]:
        """A string, or none."""
        return {"type": ["string", "null", "boolean"]}

    def show(self, value: str) -> str:
        """As it is written."""
        return value or "off"

    def _read_given(self, given: object) -> Any:
        is_null = isinstance(given, Scalar) and given.is_null
        return "" if is_null else super(SocketPath, self)._read_given(given)


class Allowed(Reader):
    """What a backend set over the API may be."""

    what: ClassVar[str] = "a network, a host name or the path of a socket"

    def read(self, text: str) -> AllowRule:
        """The entry."""
        rule: AllowRule = read_or_refuse(AllowRule.parse, text)
        return rule

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        examples = ["10.0.0.0/8", "10.0.0.7:9000-9099", "*.internal:8080", "unix:/run/apps/*"]
        return {"type": "string", "examples": examples}


class AdminTlsSection(CertificateSection):
    """TLS of the admin listeners."""

    min_version: Annotated[str, Choice(("1.2", "1.3"))] = key(
        ListenerTls(()).min_version, "The least version of TLS that is spoken."
    )

    def settings(self) -> ListenerTls:
        """The settings, without content yet."""
        return ListenerTls((self.build(),), self.min_version)


class AdminSection(Section):
    """The admin side: API, metrics and dashboard."""

    listen: Annotated[tuple[Address, ...], Many(Listen(), takes_one=True, least=1)] = key(
        _ADMIN.listen,
        "Where the admin API is served, in the forms of `proxy.listen`. Whoever can open a unix "
        "socket of it is an admin; its mode is 0600. Addresses that other machines can reach need "
        "tokens and `tls`.",
    )
    socket: Annotated[str, SocketPath()] = key(
        _ADMIN.socket,
        "A unix socket besides, for commands on the same machine (mode 0600: whoever runs the "
        "proxy, and root). `auto` is `bgproxy-PORT.sock`, with the port of the first listener, in "
        "the runtime directory; or a path; or `off`.",
    )
    tls: AdminTlsSection | None = Field(
        default=None, description="TLS of the listeners in `listen` that are no unix sockets."
    )
    insecure: Annotated[bool, Truth()] = key(
        _ADMIN.is_insecure,
        "`true` lets other machines reach a listener without `tls`: whoever sits between can read "
        "tokens. For where something else encrypts the way, such as a mesh.",
    )
    tokens: tuple[Annotated[TokenSection, TextOrToken()], ...] = key(
        (),
        "Keys to the admin API; none is possible on loopback addresses and unix sockets only. A "
        "plain text is an admin's.",
    )
    tokens_file: Annotated[str, Text(most=4000)] = key(
        _ADMIN.tokens_file,
        "A file with more of them, a list in YAML or JSON like `tokens`, which only its owner may "
        "read. Read again by a reload.",
    )
    allowed_hosts: Annotated[tuple[str, ...], Many(HostPattern(takes_wildcards=False))] = key(
        _ADMIN.allowed_hosts,
        "Names by which the admin listener may be addressed, besides `localhost` and its own "
        "address.",
    )
    backend_allow: Annotated[tuple[AllowRule, ...], Many(Allowed())] = key(
        (),
        "What backends set over the API may be: networks, host names with `*`, both with ports "
        "behind a colon, and paths of unix sockets. A name's addresses are held against the "
        "networks as well, whenever it is looked up. Empty: anything.",
    )

    @model_validator(mode="after")
    def _is_closed(self) -> AdminSection:
        for address in self.listen:
            if address.is_loopback:
                continue
            if not self.tokens and not self.tokens_file:
                refuse(
                    f"{address} can be reached from other machines and there are no tokens",
                    "listen on 127.0.0.1 or set admin.tokens",
                    key="listen",
                )
            if self.tls is None and not self.insecure:
                refuse(
                    f"{address} can be reached from other machines and tokens would travel "
                    "unencrypted",
                    "set admin.tls, or admin.insecure: true where something else encrypts the way",
                    key="listen",
                )
        return self

    @model_validator(mode="after")
    def _tokens_differ(self) -> AdminSection:
        tokens = self.build().tokens
        for number, token in enumerate(tokens):
            for first in tokens[:number]:
                if token.name == first.name:
                    problem = f"two tokens are named {token.name!r}"
                    refuse(problem, "give each a name of its own", key=f"tokens.{number}.name")
                if token.secret == first.secret:
                    problem = f"this is the token of {first.name} as well"
                    refuse(problem, "give each a token of its own", key=f"tokens.{number}.token")
        return self

    def build(self) -> AdminSettings:
        """The settings."""
        return AdminSettings(
            listen=self.listen,
            tokens=tuple(token.build(number) for number, token in enumerate(self.tokens, 1)),
            tokens_file=self.tokens_file,
            allowed_hosts=self.allowed_hosts,
            socket=self.socket,
            tls=self.tls.settings() if self.tls else None,
            is_insecure=self.insecure,
            backend_allow=AllowList(self.backend_allow),
        )
