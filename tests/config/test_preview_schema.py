"""The keys of previews: off by default, and no way in that anybody could find."""

from __future__ import annotations

import pytest

from bgproxy.domain.preview import Key, Preview, PreviewCookie
from tests.config.files import SERVICE, fault, load

SECRET = "0123456789abcdef"
KEY = SECRET * 2


def preview(text: str) -> Preview | None:
    """The preview of a service with these keys."""
    (service,) = load(f"{SERVICE}    preview: {{{text}}}\n").services
    return service.preview


@pytest.mark.parametrize(
    "text", ["", "header: {name: X-A}", "cookie: {path: /p}", "environment_header: X-A", "ways: []"]
)
def test_nobody_is_shown_anything_unless_a_key_is_set(text: str) -> None:
    """Names without secrets are no keys."""
    assert preview(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"header: {{value: {SECRET}}}", Preview(header=("X-Preview", SECRET))),
        (f"cookie: {{secret: {KEY}}}", Preview(cookie=PreviewCookie(KEY))),
        ("listen: 127.0.0.1:0", Preview(listen=("127.0.0.1:0",))),
        ("listen: ['[::1]:1', unix:p]", Preview(listen=("[::1]:1", "unix:p"))),
        ("listen: {address: localhost:1}", Preview(listen=("localhost:1",))),
        ("networks: [10.0.0.0/8]", Preview(networks=("10.0.0.0/8",))),
        (f"users: {{eve: {SECRET}}}", Preview(users=(("eve", SECRET),))),
        (
            "hosts: [G.example.com], networks: ['::1']",
            Preview(hosts=("g.example.com",), networks=("::1/128",)),
        ),
        (
            "listen: 0.0.0.0:1, networks: [10.0.0.0/8]",
            Preview(listen=("0.0.0.0:1",), networks=("10.0.0.0/8",)),
        ),
        (
            "header: {value: short}, networks: [10.0.0.0/8]",
            Preview(header=("X-Preview", "short"), networks=("10.0.0.0/8",)),
        ),
        (
            f"hosts: [g], users: {{eve: sha256:{KEY}{KEY}}}, ways: [host + user]",
            Preview(
                hosts=("g",), users=(("eve", f"sha256:{KEY}{KEY}"),), ways=(Key.HOST | Key.USER,)
            ),
        ),
        ("tell_environment: always", Preview(marks_live=True)),
    ],
)
def test_keys_become_the_domains_value(text: str, expected: Preview) -> None:
    """In canonical forms."""
    assert preview(text) == expected


@pytest.mark.parametrize(
    ("text", "path", "way"),
    [
        ("hosts: [green.example.com]", "hosts", "host"),
        ("listen: 0.0.0.0:8082", "listen", "listener"),
        ("listen: [127.0.0.1:1, 10.0.0.1:1]", "listen", "listener"),
        ("header: {value: yes}", "header", "header"),
        ("header: {value: 0123456789abcde}", "header", "header"),
        ("networks: [10.0.0.0/8, 0.0.0.0/0]", "networks", "network"),
        ("users: {eve: secret}", "users", "user"),
        ("hosts: [g], users: {eve: secret}", "hosts", "host+user"),
        ("hosts: [g], networks: ['::/0']", "hosts", "host+network"),
        (f"hosts: [g], users: {{eve: {SECRET}}}, ways: [host+user, host]", "ways.1", "host"),
        (f"hosts: [g], header: {{value: {SECRET}}}", "hosts", "host"),
    ],
)
def test_a_way_that_anybody_could_find_is_refused(text: str, path: str, way: str) -> None:
    """At the key that leads there."""
    found = fault(f"{SERVICE}    preview: {{{text}}}\n")
    assert found.path == f"services.default.preview.{path}"
    assert found.problem == f"anybody could find this way to the idle environment ({way})"
    assert found.remedy.startswith("add networks or users, or write secrets of at least 16")


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("ways: [header]", "ways.0", "the header that this needs is not configured"),
        ("ways: [heeder]", "ways.0", "'heeder' is no key"),
        ("ways: [header+]", "ways.0", "'' is no key"),
        (
            f"header: {{value: {SECRET}}}, networks: [10.0.0.0/8], ways: [header]",
            "networks",
            "no way needs the network",
        ),
        (
            f"header: {{value: {SECRET}}}, cookie: {{secret: {KEY}}}, ways: [header]",
            "cookie",
            "no way needs the cookie",
        ),
        (f"cookie: {{secret: {SECRET}}}", "cookie.secret", "short enough to be guessed"),
        (f"cookie: {{secret: {KEY}, name: a=b}}", "cookie.name", "no cookie's name"),
        (f"cookie: {{secret: {KEY}, path: p}}", "cookie.path", "not a path"),
        (f"cookie: {{secret: {KEY}, path: '/p?'}}", "cookie.path", "more than a path"),
        (f"cookie: {{secret: {KEY}, lifetime: 1s}}", "cookie.lifetime", "out of range"),
        (f"header: {{name: Cookie, value: {SECRET}}}", "header.name", "means something else"),
        (f"header: {{name: x-forwarded-by, value: {SECRET}}}", "header.name", "something else"),
        (f"header: {{name: Host, value: {SECRET}}}", "header.name", "by the proxy itself"),
        ("header: {value: sha256:abc}", "header.value", "the digest is not complete"),
        ("header: {value: 'a b'}", "header.value", "has spaces"),
        ("environment_header: X-Request-Id", "environment_header", "means something else"),
        (f"users: {{'a:b': {SECRET}}}", "users.a:b", "is no user's name"),
        ("hosts: ['*.example.com']", "hosts.0", "is not a host name"),
        ("networks: [10.0.0.1/8]", "networks.0", "has bits set"),
        ("listen: 8082", "listen", "has no port"),
        ("tell_environment: never", "tell_environment", "not known"),
    ],
)
def test_what_cannot_be_is_told(text: str, path: str, problem: str) -> None:
    """One fault, with its place."""
    found = fault(f"{SERVICE}    preview: {{{text}}}\n")
    assert found.path == f"services.default.preview.{path}"
    assert problem in found.problem


def test_no_fault_shows_a_secret() -> None:
    """Output of a check is pasted into tickets."""
    for text in (
        "header: {value: 's3cr3t \u00e9'}",
        "users: {eve: s3cr3t}",
        "cookie: {secret: s3cr3t}",
    ):
        assert "s3cr3t" not in str(fault(f"{SERVICE}    preview: {{{text}}}\n"))


def test_a_listener_that_redirects_shows_no_preview() -> None:
    """Nobody could see anything there."""
    text = "preview: {listen: {address: 127.0.0.1:1, redirect_to_https: true}}"
    found = fault(f"{SERVICE}    {text}\n")
    assert found.path == "services.default.preview.listen.0.redirect_to_https"
