"""What `bgproxy check` prints."""

from __future__ import annotations

import pytest

from bgproxy.config.describe import describe
from tests.config.files import SERVICE, load
from tests.config.test_service_schema import EVERY_KEY


def test_a_minimal_file_is_described_with_its_defaults():
    """One line for each thing an operator would ask about."""
    text = describe(load(f"proxy: {{workers: 2}}\n{SERVICE}"))
    assert (
        text
        == """\
proxy        listens on 127.0.0.1:8080
  workers    2, each with at most 16384 connections
  heads      at most 32KiB with 100 fields, request lines 8KiB
  trusts     nobody's forwarding fields
  shutdown   after at most 30s

admin        listens on 127.0.0.1:8081
  socket     in the runtime directory
  tokens     none: whoever can connect is an admin

state        var/bgproxy.db

service      default
  serves     any host; paths below /
  blue       http://127.0.0.1:9001, active at the very first start
  green      http://127.0.0.1:9002
  time-outs  connect 2s, answer 1m, request head 10s, idle client 75s
  health     GET /healthz every 2s, within 1s, must answer 200-399; 2 passed make a backend ready, 3
             failed unready
  switch     when 100% of the target's backends are healthy, waiting 30s for that; no checks
  drain      requests have 30s, tunnels 30s; the rest is closed over 2s
  rollback   watched for 10m, taken back when it fails clearly more often than the old environment
             did (by 2%, or 3 times the odds)"""
    )


def test_what_differs_is_described_in_the_same_places():
    """Releases, probes, checks and rules as they were given."""
    text = " ".join(describe(load(EVERY_KEY, SECRET="x")).split())
    for part in (
        "shop.example.com, *.shop.example.com; paths below /, /api",
        "blue http://10.0.0.1:80, https://[::1]:443, runs 1.10 green",
        "green unix:/run/green.sock, active at the very first start",
        "GET /up?x=1 for probe.example.com every 1s, within 500ms, must answer 200, 204-206",
        "204-206 with 'ok' in it; 3 passed make a backend ready, 4 failed unready",
        "these checks: GET /a, b",
        "watched for 5m, reported when n, x:9 says so, or when more than 2.5% of at least 30",
        "preview of the idle environment by header and network, or by cookie, or by listener",
        "or by host and user; at 127.0.0.1:9, unix:/run/p.sock, green.example.com",
    ):
        assert part in text


@pytest.mark.parametrize("rollback", ["{rule: off}", "{bake: 0}"])
def test_no_rollback_is_said_plainly(rollback):
    """Whichever key turned it off."""
    text = describe(load(f"{SERVICE}    rollback: {rollback}\n"))
    assert "rollback   never by itself" in text


def test_no_secret_is_described():
    """Neither a token nor a probe's header."""
    text = describe(
        load(
            "admin: {tokens: [{name: ci, role: switch, token: hunter2}], allowed_hosts: [a.b]}\n"
            f"proxy: {{trusted_proxies: [10.0.0.0/8]}}\n{SERVICE}"
            "    health: {headers: {Authorization: hunter2}}\n"
        )
    )
    assert "hunter2" not in text
    assert "tokens     ci (switch)" in text
    assert "names      a.b" in text
    assert "trusts     10.0.0.0/8" in text


def test_warnings_stand_at_the_end_with_their_places():
    """After all that is well."""
    text = describe(load(f"{SERVICE}    rollback: {{window: 1m}}\n"))
    assert "\n\nwarning: " in text
    assert "bgproxy.yaml:6:24: services.default.rollback.window: this says nothing" in text
