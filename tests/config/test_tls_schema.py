"""The keys of listeners and of TLS to backends: what they become, and what they refuse."""

from __future__ import annotations

import ipaddress

import pytest

from bgproxy.config.settings import Address, Listener
from bgproxy.domain.tls import UpstreamTls
from tests.config.files import SERVICE, fault, load, place

PAIR = "{certificate: a, key: b}"
TLS = f"{{certificates: [{PAIR}]}}"


def test_a_listener_can_be_a_mapping_or_a_text():
    """In a list or alone."""
    settings = load(
        f"""\
proxy:
  listen:
    - 127.0.0.1:80
    - address: 127.0.0.1:81
      redirect_to_https: true
    - address: "[::1]:82"
      redirect_to_https: 8443
      proxy_protocol: {{from: [10.0.0.0/8, "::1"]}}
{SERVICE}"""
    )
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
    assert settings.proxy.listen == (
        Listener(Address("127.0.0.1", 80)),
        Listener(Address("127.0.0.1", 81), https_port=443),
        Listener(Address("::1", 82), proxy_from=networks, https_port=8443),
    )
    alone = load(f"proxy: {{listen: {{address: 127.0.0.1:81}}}}\n{SERVICE}")
    assert alone.proxy.listen == (Listener(Address("127.0.0.1", 81)),)


@pytest.mark.parametrize(
    ("listener", "path", "problem"),
    [
        ("redirect_to_https: 443", "address", "missing"),
        ("{address: 127.0.0.1:80, redirect_to_https: maybe}", "redirect_to_https", "whole number"),
        ("{address: 127.0.0.1:80, redirect_to_https: 0}", "redirect_to_https", "out of range"),
        ("{address: 127.0.0.1:80, proxy_protocol: true}", "proxy_protocol", "mapping"),
        ("{address: 127.0.0.1:80, proxy_protocol: {}}", "proxy_protocol.from", "missing"),
        ("{address: 127.0.0.1:80, proxy_protocol: {from: []}}", "proxy_protocol.from", "empty"),
        ("{address: unix:/x, proxy_protocol: {from: 10.0.0.1}}", "proxy_protocol", "no address"),
        ("{address: 127.0.0.1:80, tls: {certificates: []}}", "tls.certificates", "nothing in it"),
        ("{address: 127.0.0.1:80, tls: }", "tls", "mapping"),
        ("{address: 127.0.0.1:80, tsl: {}}", "tsl", "not known"),
        (
            f"{{address: 127.0.0.1:80, redirect_to_https: true, tls: {TLS}}}",
            "redirect_to_https",
            "circle",
        ),
        (
            f"{{address: 127.0.0.1:80, tls: {{min_version: 1.1, certificates: [{PAIR}]}}}}",
            "tls.min_version",
            "not known",
        ),
    ],
)
def test_what_a_listener_cannot_be(listener, path, problem):
    """Told at the key."""
    text = f"proxy:\n  listen:\n    {listener}\n{SERVICE}"
    found = fault(text)
    assert found.path.endswith(path)
    assert problem in found.problem
    assert found.line == 3


def test_a_listener_that_is_taken_is_told_by_its_address():
    """Among mappings and texts alike."""
    text = f"proxy: {{listen: ['127.0.0.1:80', {{address: 0.0.0.0:80}}]}}\n{SERVICE}"
    found = fault(text)
    assert place(found) == ("proxy.listen.1", 1, 34)
    assert "taken by 127.0.0.1:80" in found.problem


@pytest.mark.parametrize(
    ("lines", "path", "problem"),
    [
        ("upstream_tls: {verify: maybe}", "upstream_tls.verify", "neither true nor false"),
        ("upstream_tls: {server_name: a b}", "upstream_tls.server_name", "not a host name"),
        ("upstream_tls: {ca: x.pem, verify: false}", "upstream_tls.ca", "says nothing"),
        ("hsts: forever", "hsts", "no value of Strict-Transport-Security"),
        ("hsts: max-age=1; includeSubDomains; evil\\r\\n", "hsts", "no value"),
    ],
)
def test_what_tls_of_a_service_cannot_be(lines, path, problem):
    """Told at the key."""
    found = fault(f"{SERVICE}    {lines}\n")
    assert found.path == f"services.default.{path}"
    assert problem in found.problem


def test_backends_are_verified_unless_told_otherwise():
    """By the authorities of the system."""
    (service,) = load(SERVICE).services
    assert service.upstream_tls == UpstreamTls(ca="", server_name="", verify=True)
    assert service.hsts == ""
