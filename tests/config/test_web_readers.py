"""Readers of what the web names."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from bgproxy.config.settings import Address
from bgproxy.config.web_readers import (
    BackendUrl,
    Cidr,
    FieldName,
    FieldValue,
    HostField,
    HostPattern,
    Listen,
    Method,
    Name,
    Pattern,
    Secret,
    StatusRange,
    Target,
)
from bgproxy.domain.model import Backend

DIGEST = "sha256:" + "0a" * 32

READERS = [
    *(BackendUrl(), Cidr(), FieldName(), FieldName(is_sent=False), FieldValue(), HostField()),
    *(HostPattern(), HostPattern(takes_wildcards=False), Listen(), Method(), Name(), Pattern()),
    *(Secret(), StatusRange(), Target(), Target(takes_query=False)),
]


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (Listen(), "127.0.0.1:80", Address("127.0.0.1", 80)),
        (Cidr(), "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
        (Cidr(), "192.0.2.1", ipaddress.ip_network("192.0.2.1/32")),
        (Cidr(), "::1", ipaddress.ip_network("::1/128")),
        (Cidr(), "10.0.0.0/255.0.0.0", ipaddress.ip_network("10.0.0.0/8")),
        (BackendUrl(), "http://h:1/", Backend("http://h:1", "http", "h", 1)),
        (HostPattern(), "*", "*"),
        (HostPattern(), "*.Example.COM", "*.example.com"),
        (HostPattern(), "Shop.example.com.", "shop.example.com"),
        (HostPattern(), "127.0.0.1", "127.0.0.1"),
        (HostPattern(), "[::1]", "[::1]"),
        (HostPattern(), "a_b-c.internal", "a_b-c.internal"),
        (HostField(), "", ""),
        (HostField(), "shop.example.com:8080", "shop.example.com:8080"),
        (HostField(), "[::1]:80", "[::1]:80"),
        (Target(), "/a%20b?c=/d", "/a%20b?c=/d"),
        (FieldName(), "X-Probe", "X-Probe"),
        (FieldName(is_sent=False), "Content-Length", "Content-Length"),
        (FieldValue(), "a b\té", "a b\té"),
        (FieldValue(), "", ""),
        (Method(), "PROPFIND", "PROPFIND"),
        (StatusRange(), "200", (200, 200)),
        (StatusRange(), "200-399", (200, 399)),
        (Pattern(), "^a+$", "^a+$"),
        (Pattern(), "[[a]", "[[a]"),
        (Name(), "shop-v2.eu_1", "shop-v2.eu_1"),
        (Name(is_optional=True), "", ""),
        (Secret(), "abc.DEF-123_~+/=", "abc.DEF-123_~+/="),
        (Secret(), DIGEST, DIGEST),
    ],
)
def test_each_kind_reads_its_own(reader, text, value):
    """Canonical where two spellings mean the same, else as written."""
    assert reader.read(text) == value


@pytest.mark.parametrize(
    ("reader", "text", "problem", "remedy"),
    [
        (Cidr(), "10.0.0.1/8", "bits set beyond its length", "write 10.0.0.0/8"),
        (Cidr(), "lb.internal", "'lb.internal' is not a network", "10.0.0.0/8 or ::1"),
        (BackendUrl(), "http://h", "the port is missing", "write http://host:port"),
        (BackendUrl(), "http://h:1/x", "a backend has no path, as in http://h:1", "write http://h"),
        (BackendUrl(), "http://[::1]:1/?x", "has no path, as in http://[::1]:1", "write http://h"),
        (BackendUrl(), "http://h/x", "the port is missing, as in http://h:9001", "write http://h"),
        (BackendUrl(), "h:80", "'h:80' is not a backend's address", "write http://host:port"),
        (BackendUrl(), "http://me:pw@h:80", "no user or password", "write http://host:port"),
        (HostPattern(), "shop:80", "'shop:80' has a port", "write the name alone"),
        (HostPattern(), "bücher.de", "is not ASCII", "xn--bcher-kva.de"),
        (HostPattern(), "\u00e9" * 64, "is not ASCII", "write its punycode form"),
        (HostPattern(), "[::1]:80", "'[::1]:80' has a port", "write the name alone"),
        (HostPattern(), "*.[::1]", "is not a host name", "write a host name"),
        (HostPattern(), "a.*.com", "'a.*.com' is not a host name", "write a host name"),
        (HostPattern(), "a" * 64, "is not a host name", "write a host name"),
        (HostPattern(), ".".join(["a" * 60] * 5), "is not a host name", "write a host name"),
        (HostPattern(), "[::1", "is not a host name", "write a host name"),
        (HostPattern(), "[::g]", "is not a host name", "write a host name"),
        (HostPattern(takes_wildcards=False), "*", "'*' is not a host name", "write a host name"),
        (HostField(), "a b", "cannot stand in a Host field", "a host name, with a port"),
        (Target(), "healthz", "'healthz' is not a path", "as in /healthz"),
        (Target(), "/a b", "cannot stand in a request", "%XX"),
        (Target(), "/ä", "cannot stand in a request", "%XX"),
        (Target(), "/" + "a" * 2000, "cannot stand in a request", "%XX"),
        (Target(), "/a#b", "more than a path", "without ? and #"),
        (Target(takes_query=False), "/a?b", "more than a path", "without ? and #"),
        (FieldName(), "X Probe", "is not a header field's name", "letters, digits"),
        (FieldName(), "HOST", "HOST is set by the proxy itself", "use the key host instead"),
        (FieldName(), "Content-Length", "is set by the proxy itself", "remove it"),
        (FieldValue(), "a\nb", "no header field takes", "on one line"),
        (FieldValue(), " a", "no header field takes", "without spaces around"),
        (FieldValue(), "€", "no header field takes", "latin-1"),
        (Method(), "get", "'get' cannot be the method", "write GET"),
        (Method(), "CONNECT", "'CONNECT' cannot be the method", "write GET"),
        (StatusRange(), "2xx", "'2xx' is not a status code", '"200-399"'),
        (StatusRange(), "399-200", "'399-200' is not a status code", '"200-399"'),
        (StatusRange(), "600", "'600' is not a status code", '"200-399"'),
        (Pattern(), "(", "is not a regular expression", "Python's syntax"),
        (Pattern(), "a{99999999999}", "is not a regular expression", "Python's syntax"),
        (Pattern(), "(" * 1000 + ")" * 1000, "is not a regular expression", "Python's syntax"),
        (Name(), "a/b", "'a/b' cannot be a name here", "up to 63 letters"),
        (Name(), "", "'' cannot be a name here", "up to 63 letters"),
        (Secret(), "two words", "has spaces", "write letters, digits"),
        (Secret(), "", "or is empty", "write letters, digits"),
        (Secret(), "sha256:12", "the digest is not complete", "64 hexadecimal digits"),
    ],
)
def test_each_kind_refuses_the_rest_with_what_to_write(reader, text, problem, remedy):
    """The problem names what was written, unless that may be secret."""
    with pytest.raises(PydanticCustomError) as error:
        reader.read(text)
    assert error.value.context is not None
    assert problem in error.value.context["problem"]
    assert remedy in error.value.context["remedy"]


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (Secret(), "hunter2 x"),
        (Secret(), "sha256:hunter2"),
        (FieldValue(), "hunter2\n"),
        (BackendUrl(), "http://me:hunter2@h:1"),
    ],
)
def test_what_may_be_secret_is_not_shown(reader, text):
    """Faults end in logs."""
    with pytest.raises(PydanticCustomError) as error:
        reader.read(text)
    assert "hunter2" not in str(error.value)


@given(st.sampled_from(READERS), st.text(max_size=40))
def test_no_text_raises_anything_but_a_refusal(reader, text):
    """Whatever the text, there is a value that hashes or a refusal."""
    try:
        value = reader.read(text)
    except PydanticCustomError:
        return
    hash(value)
