"""The keys of proxy, admin and the file itself: what they become, and what they refuse."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest

from bgproxy.config.settings import (
    MAX_WORKERS,
    Address,
    AdminSettings,
    Listener,
    ProxySettings,
    Role,
    Token,
)
from bgproxy.domain.model import ProxyLimits
from tests.config.files import SERVICE, fault, faults, load, place


def test_a_minimal_file_has_all_defaults():
    """A service with two environments is all that must be said."""
    settings = load(SERVICE)
    assert settings.proxy == ProxySettings(workers=len(os.sched_getaffinity(0)))
    assert settings.admin == AdminSettings()
    assert settings.state == Path("var/bgproxy.db")
    assert [service.name for service in settings.services] == ["default"]
    assert settings.warnings == ()


def test_every_key_of_the_proxy_is_taken_over():
    """Each in its own form."""
    settings = load(
        f"""\
proxy:
  listen: ["127.0.0.1:80", "[::1]:80", unix:/run/x.sock]
  workers: 3
  trusted_proxies: [10.0.0.0/8, "::1"]
  shutdown_timeout: 1m
  backlog: 128
  limits:
    max_line: 4KiB
    max_head: 16KiB
    max_fields: 50
    max_connections: 1000
    max_connections_per_client: 10
    min_body_rate: 1KiB
{SERVICE}"""
    )
    assert settings.proxy == ProxySettings(
        listen=(
            Listener(Address("127.0.0.1", 80)),
            Listener(Address("::1", 80)),
            Listener(Address("", 0, "/run/x.sock")),
        ),
        workers=3,
        limits=ProxyLimits(4096, 16384, 50, 1000, 10, 1024),
        trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
        shutdown_timeout=60.0,
        backlog=128,
    )


def test_no_more_workers_than_there_is_room_for(monkeypatch):
    """`auto` on a very large machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(500)))
    assert load(SERVICE).proxy.workers == MAX_WORKERS


def test_tokens_are_mappings_or_an_admins_plain_text():
    """Names are made up where they are not given; roles are the least where they are not."""
    settings = load(
        f"""\
admin:
  tokens:
    - "${{ADMIN_TOKEN}}"
    - {{token: 0123456789abcdef}}
    - {{name: ci, role: switch, token: fedcba9876543210}}
{SERVICE}""",
        ADMIN_TOKEN="from-the-environment",
    )
    assert settings.admin.tokens == (
        Token("token-1", Role.ADMIN, "from-the-environment"),
        Token("token-2", Role.READ, "0123456789abcdef"),
        Token("ci", Role.SWITCH, "fedcba9876543210"),
    )


def test_the_rest_of_admin_and_the_state_are_taken_over():
    """As they are written; names in lower case."""
    settings = load(
        f"""\
admin: {{tokens: [0123456789abcdef], allowed_hosts: [Deploy.example.com]}}
state: /var/lib/bgproxy/state.db
{SERVICE}"""
    )
    assert settings.admin.allowed_hosts == ("deploy.example.com",)
    assert settings.state == Path("/var/lib/bgproxy/state.db")


@pytest.mark.parametrize(
    ("text", "where", "problem", "remedy"),
    [
        (
            "proxy: {limits: {max_line: 64KiB}}",
            ("proxy.limits.max_line", 1, 28),
            "a request line is part of the head",
            "raise max_head",
        ),
        ("proxy: {workers: 0}", ("proxy.workers", 1, 18), "out of range", "auto, or a whole"),
        ("proxy: {listen: []}", ("proxy.listen", 1, 17), "the list is empty", "at least 1"),
        ("proxy: {listen: 127.1:80}", ("proxy.listen", 1, 17), "nor a host name", "127.0.0.1:80"),
        ("admin: {listen: localhost:80}", ("admin.listen", 1, 17), "not an IP", "127.0.0.1:80"),
        (
            'proxy: {listen: ["127.0.0.1:80", "80"]}',
            ("proxy.listen.1", 1, 34),
            "'80' has no port",
            "write 127.0.0.1:80",
        ),
        (
            "admin: {listen: 0.0.0.0:8081}",
            ("admin.listen", 1, 17),
            "can be reached from other machines and there are no tokens",
            "listen on 127.0.0.1 or set admin.tokens",
        ),
        (
            'admin: {tokens: [{name: a, token: "x"}, {name: a, token: "y"}]}',
            ("admin.tokens.1.name", 1, 48),
            "two tokens are named 'a'",
            "a name of its own",
        ),
        (
            'admin: {tokens: [{name: a, token: "x"}, "x"]}',
            ("admin.tokens.1", 1, 41),
            "this is the token of a as well",
            "a token of its own",
        ),
        ("admin: {tokens: [a b]}", ("admin.tokens.0", 1, 18), "has spaces", "write letters"),
        ("admin: {tokens: [{}]}", ("admin.tokens.0.token", 1, 18), "missing", '"${NAME}"'),
        ("admin: {tokens: x}", ("admin.tokens", 1, 17), "a list belongs here", "[ ]"),
        ("state: var/", ("state", 1, 8), "'var/' names a directory", "a file in it"),
        ('state: ""', ("state", 1, 8), "is empty", "at least one character"),
        ("state:", ("state", 1, 7), "the value is missing", "the path of a file"),
        ('state: "a\\0b"', ("state", 1, 8), "control character U+0000", "one plain line"),
    ],
)
def test_what_cannot_be_is_told_with_its_place_and_remedy(text, where, problem, remedy):
    """Exactly one fault each, at the value that is wrong."""
    found = fault(f"{text}\n{SERVICE}")
    assert place(found) == where
    assert problem in found.problem
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("proxy: {}\n", ("services", 1, 1), "this key is missing"),
        ("services:\n", ("services", 1, 10), "a mapping belongs here"),
        ("services: {}\n", ("services", 1, 11), "there is nothing in it"),
        ("services: [a]\n", ("services", 1, 11), "a mapping belongs here"),
        ("services: {a b: {}}\n", ("services.a b", 1, 12), "'a b' cannot be a name here"),
    ],
)
def test_a_service_is_needed(text, where, problem):
    """Its name stands in addresses and labels."""
    found = next(f for f in faults(text) if problem in f.problem)
    assert place(found) == where


def test_services_are_bounded():
    """By the room in the shared memory."""
    one = "{environments: &e {blue: {backends: ['http://h:1']}, green: {backends: []}}}"
    rest = "".join(
        f"  s{n}: {{environments: *e, hosts: [h{n}.example.com]}}\n" for n in range(1024)
    )
    found = fault(f"services:\n  first: {one}\n{rest}")
    assert place(found) == ("services", 2, 3)
    assert "there are too many of them; at most 1024 can be" in str(found)
