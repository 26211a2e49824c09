"""The keys of a service's preview: by whom its idle environment is reached, and by nobody else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bgproxy.config.readers import Choice, Duration, Reader, read_or_refuse, refuse
from bgproxy.config.sections import Many, Pairs, Section, key
from bgproxy.config.settings import Listener, Network
from bgproxy.config.tls_schema import ListenerSection, ListOfListeners, TextOrListener
from bgproxy.config.web_readers import Cidr, FieldName, HostPattern, Target
from bgproxy.domain.preview import NO_KEY, SHORTEST_SECRET, Key, Preview, PreviewCookie

_PREVIEW = Preview()
_COOKIE = PreviewCookie("")
_HEADER = "X-Preview"
_PREVIEWS, _ALWAYS = "previews", "always"

_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}")
_VISIBLE = re.compile(r"[\x21-\x7e]*")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_USER = re.compile(r"[^:\x00-\x1f\x7f]{1,100}")
_TAKEN = frozenset(
    {"authorization", "cookie", "forwarded", "x-bgproxy-preview", "x-real-ip", "x-request-id"}
    | {"x-request-start", "max-forwards"}
)
_NAMED = {
    Key.LISTENER: "listen",
    Key.HOST: "hosts",
    Key.HEADER: "header.value",
    Key.COOKIE: "cookie.secret",
    Key.NETWORK: "networks",
    Key.USER: "users",
}
"""Where each key is configured."""


@dataclass(frozen=True, slots=True)
class SecretText(Reader):
    """What a client has to present; empty for none; no fault shows it.

    Args:
        takes_digest: whether ``sha256:`` and a digest may stand for it.
    """

    takes_digest: bool = True
    what: ClassVar[str] = "a secret text"

    def read(self, text: str) -> str:
        """The text itself."""
        if self.takes_digest and text.startswith("sha256:") and not _DIGEST.fullmatch(text):
            refuse("the digest is not complete", "write sha256: and its 64 hexadecimal digits")
        if not _VISIBLE.fullmatch(text):
            refuse(
                "the secret has spaces or characters beyond ASCII in it",
                "make one with: openssl rand -hex 32",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": ["string", "number"]}


class HeaderName(Reader):
    """A header field that nothing else has a meaning for."""

    what: ClassVar[str] = "a header field's name"

    def read(self, text: str) -> str:
        """The text itself."""
        name = str(FieldName().read(text))
        if name.lower() in _TAKEN or name.lower().startswith("x-forwarded-"):
            refuse(f"{name} means something else", "write a name of your own, such as X-Preview")
        return name

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return FieldName().json_schema()


class CookieName(Reader):
    """A cookie's name (RFC 6265 section 4.1.1), without what some readers stumble over."""

    what: ClassVar[str] = "a cookie's name"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _COOKIE_NAME.fullmatch(text):
            refuse(f"{text!r} is no cookie's name", "write letters, digits, hyphens and _")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "pattern": f"^{_COOKIE_NAME.pattern}$"}


class UserName(Reader):
    """A user's name, as basic authentication has it (RFC 7617 section 2)."""

    what: ClassVar[str] = "a user's name"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _USER.fullmatch(text):
            refuse(f"{text!r} is no user's name", "write it without colons")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


class WayText(Reader):
    """Keys that are needed together."""

    what: ClassVar[str] = "keys joined by +, such as host+network"

    def read(self, text: str) -> Key:
        """The keys."""
        way: Key = read_or_refuse(Key.parse, text)
        return way

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["header", "host+network", "host+user"]}

    def show(self, value: Key) -> str:
        """As it is written."""
        return value.label


class PreviewHeaderSection(Section):
    """A secret header."""

    name: Annotated[str, HeaderName()] = key(_HEADER, "The header field.")
    value: Annotated[str, SecretText()] = key(
        "",
        "What must stand in it, best as `${NAME}`; or `sha256:` and the hexadecimal digest of it. "
        "Empty for no such key.",
    )


class PreviewCookieSection(Section):
    """A cookie that a signed link sets."""

    secret: Annotated[str, SecretText(takes_digest=False)] = key(
        "",
        "Signs links and cookies, best as `${NAME}`; made with `openssl rand -hex 32`. Another "
        "one ends them all. Empty for no such key.",
    )
    path: Annotated[str, Target(takes_query=False)] = key(
        _COOKIE.path,
        "Path of the link, on every host of the service: `bgproxy preview-link` prints it. "
        "Without a token it takes the cookie back.",
    )
    name: Annotated[str, CookieName()] = key(_COOKIE.name, "The cookie.")
    lifetime: Annotated[float, Duration(least=60, most=90 * 24 * 3600)] = key(
        _COOKIE.lifetime, "How long a cookie is good for."
    )

    @model_validator(mode="after")
    def _is_long(self) -> PreviewCookieSection:
        if self.secret and len(self.secret) < 2 * SHORTEST_SECRET:
            refuse(
                "the secret is short enough to be guessed",
                "make one with: openssl rand -hex 32",
                key="secret",
            )
        return self

    def build(self) -> PreviewCookie | None:
        """The domain's value."""
        return PreviewCookie(**self.values()) if self.secret else None


class PreviewSection(Section):
    """How the idle environment is reached before it is switched to; off unless a key is named."""

    listen: Annotated[
        tuple[Annotated[ListenerSection, TextOrListener()], ...], ListOfListeners(least=0)
    ] = key(
        (),
        "Listeners of its own, in the forms of `proxy.listen`, with TLS where that says so; "
        "whatever is asked for there is a preview of this service.",
    )
    hosts: Annotated[tuple[str, ...], Many(HostPattern(takes_wildcards=False))] = key(
        (), "Host names that mean the idle environment, such as `green.example.com`."
    )
    header: PreviewHeaderSection = Field(
        default_factory=PreviewHeaderSection, description="A secret header."
    )
    cookie: PreviewCookieSection = Field(
        default_factory=PreviewCookieSection, description="A cookie that a signed link sets."
    )
    networks: Annotated[tuple[Network, ...], Many(Cidr())] = key(
        (), "Where clients must be; by their addresses as trusted proxies give them."
    )
    users: Annotated[tuple[tuple[str, str], ...], Pairs(UserName(), SecretText())] = key(
        (),
        "Passwords by user, for basic authentication; or `sha256:` and the hexadecimal digests "
        "of them.",
    )
    ways: Annotated[tuple[Key, ...], Many(WayText())] = key(
        (),
        "Which keys open: any of these, each being `listener`, `host`, `header`, `cookie`, "
        "`network` or `user`, or several joined by `+`. Left out, each of the first four opens "
        "that is configured, together with `network` and `user` where these are.",
    )
    environment_header: Annotated[str, HeaderName()] = key(
        _PREVIEW.environment_header, "The answer's field that tells which environment it is from."
    )
    tell_environment: Annotated[str, Choice((_PREVIEWS, _ALWAYS))] = key(
        _PREVIEWS, "Whether only answers to `previews` have that field, or those to users `always`."
    )

    @model_validator(mode="after")
    def _serves_itself(self) -> PreviewSection:
        for index, listener in enumerate(self.listen):
            if listener.redirect_to_https:
                refuse(
                    "a preview's listener shows the preview",
                    "remove it, and give the listener tls",
                    key=f"listen.{index}.redirect_to_https",
                )
        return self

    @model_validator(mode="after")
    def _is_closed(self) -> PreviewSection:
        preview = self._preview()
        used = NO_KEY
        for index, way in enumerate(preview.open_ways):
            used |= way
            self._check_way(preview, way, f"ways.{index}" if self.ways else "")
        for unused in (each for each in Key if each in preview.configured and each not in used):
            refuse(
                f"no way needs the {unused.label}",
                f"add {unused.label} to a way, or remove this",
                key=_NAMED[unused].partition(".")[0],
            )
        return self

    def _check_way(self, preview: Preview, way: Key, place: str) -> None:
        """Refuse a way that is not there, or that is open to anybody."""
        for needed in (each for each in Key if each in way and each not in preview.configured):
            refuse(
                f"the {needed.label} that this needs is not configured",
                f"set {_NAMED[needed]}",
                key=place,
            )
        is_local = all(each.address.is_loopback for each in self.listen)
        if not preview.is_strong(way, is_listener_local=is_local):
            refuse(
                f"anybody could find this way to the idle environment ({way.label})",
                f"add networks or users, or write secrets of at least {SHORTEST_SECRET} characters",
                key=place or _NAMED[next(each for each in Key if each in way)].partition(".")[0],
            )

    def _preview(self) -> Preview:
        return Preview(
            listen=tuple(str(each.address) for each in self.listen),
            hosts=self.hosts,
            header=(self.header.name, self.header.value) if self.header.value else ("", ""),
            cookie=self.cookie.build(),
            networks=tuple(map(str, self.networks)),
            users=self.users,
            ways=self.ways,
            environment_header=self.environment_header,
            marks_live=self.tell_environment == _ALWAYS,
        )

    def listeners(self, service: str) -> tuple[Listener, ...]:
        """The settings of its listeners."""
        return tuple(each.build(service) for each in self.listen)

    def build(self) -> Preview | None:
        """The domain's value; None where nothing asks for it."""
        preview = self._preview()
        return preview if preview.configured or preview.marks_live else None
