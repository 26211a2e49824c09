"""Readers of what the web names: addresses, hosts, paths, fields, status codes."""

from __future__ import annotations

import ipaddress
import re
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

from bgproxy.config.readers import Reader, Text, read_or_refuse, refuse, with_variable
from bgproxy.config.settings import Address, Network
from bgproxy.domain.model import Backend

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# A token of RFC 9110 section 5.6.2, as field names and methods are.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}"
_ONE_WORD = re.compile(_WORD)
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_FIELD_VALUE = re.compile(r"([\x21-\x7e\x80-\xff]([\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_FORBIDDEN_FIELDS = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "proxy-connection", "expect"}
)


@dataclass(frozen=True, slots=True)
class Listen(Reader):
    """An address to listen on.

    Args:
        takes_names: whether its host may be a name.
    """

    takes_names: bool = False
    what: ClassVar[str] = "address:port or unix:PATH"

    def read(self, text: str) -> Address:
        """The address."""
        address: Address = read_or_refuse(Address.parse, text)
        if address.is_name and not self.takes_names:
            refuse(f"{address.host!r} is not an IP address", f"write 127.0.0.1:{address.port}")
        return address

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        names = ["localhost:8080"] if self.takes_names else []
        plain = ["127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock"]
        return {"type": "string", "examples": plain + names}

    def show(self, value: Address) -> str:
        """As it is written."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Cidr(Reader):
    """A network, or one address."""

    what: ClassVar[str] = "a network such as 10.0.0.0/8"

    def read(self, text: str) -> Network:
        """The network."""
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            refuse(
                f"{text!r} is not a network",
                "write a network or an address, such as 10.0.0.0/8 or ::1",
            )
        if str(network.network_address) != str(ipaddress.ip_address(text.partition("/")[0])):
            refuse(f"{text} has bits set beyond its length", f"write {network}")
        return network

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["10.0.0.0/8", "::1"]}


@dataclass(frozen=True, slots=True)
class BackendUrl(Reader):
    """The address of a backend."""

    what: ClassVar[str] = "http://host:port, https://host:port or unix:/path"

    def read(self, text: str) -> Backend:
        """The backend."""
        if "@" in text and not text.startswith("unix:"):
            refuse("a backend's address has no user or password", f"write {self.what}")
        try:
            return Backend.parse(text)
        except ValueError as error:
            problem, _, _ = str(error).partition(": write ")
            problem += " is not a backend's address" * (problem == repr(text))
            refuse(problem, f"write {self.what}")

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        pattern = {"type": "string", "pattern": "^(https?://.+|unix:/.+)$"}
        return with_variable(pattern)


@dataclass(frozen=True, slots=True)
class HostPattern(Reader):
    """A host name that is served: a name, ``*.example.com`` or ``*``.

    Args:
        takes_wildcards: whether the latter two are taken.
    """

    takes_wildcards: bool = True
    what: ClassVar[str] = 'a host name, "*.example.com" or "*"'

    def read(self, text: str) -> str:
        """The pattern, lower case, without a final dot."""
        name = text.lower().removesuffix(".")
        if self.takes_wildcards and name == "*":
            return name
        plain = name.removeprefix("*.") if self.takes_wildcards else name
        if not (_HOST.fullmatch(plain) and len(plain) <= 253) and not _is_bracketed_address(name):
            _refuse_host(text, self.what)
        return name

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        wildcards = ["*", "*.example.com"] if self.takes_wildcards else []
        return {"type": "string", "examples": [*wildcards, "shop.example.com"]}


def _refuse_host(text: str, what: str) -> NoReturn:
    """Say what is wrong with a host name, or is most likely to be."""
    if not text.isascii():
        refuse(f"{text!r} is not ASCII", f"write its punycode form{_punycode(text)}")
    if re.fullmatch(r"([^\[:]+|\[.*\]):[0-9]+", text):
        refuse(f"{text!r} has a port", "write the name alone: every port is served alike")
    refuse(f"{text!r} is not a host name", f"write {what}")


def _is_bracketed_address(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")):
        return False
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return False
    return True


def _punycode(text: str) -> str:
    try:
        return f", {text.encode('idna').decode('ascii')}"
    except UnicodeError:
        return ""


@dataclass(frozen=True, slots=True)
class HostField(Reader):
    """What a Host field carries: a name or an address, with a port or without."""

    what: ClassVar[str] = "a host name, with a port or without"

    def read(self, text: str) -> str:
        """The text itself; empty for the default."""
        name = re.sub(r":[0-9]{1,5}\Z", "", text.lower())
        if text and not (_HOST.fullmatch(name) or _is_bracketed_address(name)):
            refuse(f"{text!r} cannot stand in a Host field", f"write {self.what}")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["shop.example.com"]}


@dataclass(frozen=True, slots=True)
class Target(Reader):
    """A path as it stands in a request.

    Args:
        takes_query: whether ``?`` and what follows may be there.
    """

    takes_query: bool = True
    what: ClassVar[str] = "a path such as /healthz"

    def read(self, text: str) -> str:
        """The text itself."""
        if not text.startswith("/"):
            refuse(f"{text!r} is not a path", f"write it with a / in front, as in /{text.strip()}")
        if not _VISIBLE.fullmatch(text) or len(text) > 2000:
            refuse(f"{text!r} cannot stand in a request", "write other characters as %XX")
        if "#" in text or ("?" in text and not self.takes_query):
            refuse(f"{text!r} is more than a path", "write it without ? and #")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return with_variable({"type": "string", "pattern": "^/"})


@dataclass(frozen=True, slots=True)
class FieldName(Reader):
    """The name of a header field (RFC 9110 section 5.1).

    Args:
        is_sent: the field is sent, so it must not be one that frames or routes the request.
    """

    is_sent: bool = True
    what: ClassVar[str] = "a header field's name"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _ONE_WORD.fullmatch(text):
            refuse(f"{text!r} is not a header field's name", "write letters, digits and hyphens")
        if self.is_sent and text.lower() in _FORBIDDEN_FIELDS:
            remedy = "use the key host instead" if text.lower() == "host" else "remove it"
            refuse(f"{text} is set by the proxy itself", remedy)
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "pattern": f"^{_WORD}$"}


@dataclass(frozen=True, slots=True)
class FieldValue(Reader):
    """The value of a header field; it may be secret, so no fault shows it."""

    what: ClassVar[str] = "a header field's value"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _FIELD_VALUE.fullmatch(text):
            refuse(
                "the value has characters that no header field takes",
                "write latin-1 characters on one line, without spaces around them",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Method(Reader):
    """A request's method."""

    what: ClassVar[str] = "a method such as GET"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _ONE_WORD.fullmatch(text) or text != text.upper() or text in ("CONNECT", "TRACE"):
            refuse(f"{text!r} cannot be the method of a check", "write GET, POST or the like")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "examples": ["GET", "HEAD", "POST"]}


@dataclass(frozen=True, slots=True)
class StatusRange(Reader):
    """A status code, or two with a hyphen between them."""

    what: ClassVar[str] = 'a status code such as 200, or a range such as "200-399"'

    def read(self, text: str) -> tuple[int, int]:
        """First and last code."""
        match = _STATUS.fullmatch(text)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            refuse(f"{text!r} is not a status code", f"write {self.what}")
        return int(match[1]), int(match[2] or match[1])

    def json_schema(self) -> dict[str, Any]:
        """An integer or a string."""
        code = {"type": "integer", "minimum": 100, "maximum": 599}
        return with_variable(
            code, {"type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"}
        )

    def show(self, value: tuple[int, int]) -> int | str:
        """As it is written."""
        return value[0] if value[0] == value[1] else f"{value[0]}-{value[1]}"


@dataclass(frozen=True, slots=True)
class Pattern(Reader):
    """A regular expression; empty for none."""

    what: ClassVar[str] = "a regular expression"

    def read(self, text: str) -> str:
        """The text itself, once it compiles."""
        Text(most=2000, is_multiline=True).read(text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            refuse(f"is not a regular expression: {error}", "correct it; Python's syntax counts")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Name(Reader):
    """A name that is fit for paths and labels.

    Args:
        is_optional: an empty one is taken, too.
    """

    is_optional: bool = False

    what: ClassVar[str] = "a name"

    def read(self, text: str) -> str:
        """The text itself."""
        if not _NAME.fullmatch(text) and not (self.is_optional and not text):
            refuse(
                f"{text!r} cannot be a name here",
                "write up to 63 letters, digits, hyphens, underscores and dots",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": ["string", "number"]}


@dataclass(frozen=True, slots=True)
class Secret(Reader):
    """A token's text, or its digest; no fault shows it."""

    what: ClassVar[str] = "the token's text"

    def read(self, text: str) -> str:
        """The text itself."""
        if text.startswith("sha256:"):
            if not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", text):
                refuse("the digest is not complete", "write sha256: and its 64 hexadecimal digits")
        elif not _VISIBLE.fullmatch(text):
            refuse(
                "the token has spaces or characters beyond ASCII in it, or is empty",
                "write letters, digits and -._~+/ only",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class SigningKey(Reader):
    """What signs a webhook, empty for nothing; no fault shows it."""

    what: ClassVar[str] = "the signing secret"

    def read(self, text: str) -> str:
        """The text itself."""
        if text and not _VISIBLE.fullmatch(text):
            refuse(
                "the secret has spaces or characters beyond ASCII in it",
                "make one with: openssl rand -hex 32",
            )
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class HttpUrl(Reader):
    """Where a request goes; no fault shows it, as many receivers take a secret in its path.

    Args:
        is_optional: an empty one is taken, too.
    """

    is_optional: bool = False
    what: ClassVar[str] = "a URL such as https://ci.example.com/hook"

    def read(self, text: str) -> str:
        """The text itself."""
        if not text and self.is_optional:
            return text
        try:
            parts = urlsplit(text)
            is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_good = is_good and parts.port != 0
        except ValueError:
            is_good = False
        else:
            if "@" in parts.netloc:
                refuse("the URL has a user or password in it", "sign with secret instead")
        if not is_good or not _VISIBLE.fullmatch(text) or len(text) > 2000 or "#" in text:
            refuse("this is not a URL that can be called", f"write {self.what}")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return with_variable({"type": "string", "pattern": "^(https?://.+)?$"})
