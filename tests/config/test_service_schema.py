"""The keys of a service: what they become, and what they refuse."""

from __future__ import annotations

import pytest

from bgproxy.domain.hooks import CommandCall, Hooks, WebhookCall
from bgproxy.domain.model import (
    Backend,
    Color,
    DrainPolicy,
    Environment,
    Expectation,
    HealthPolicy,
    HttpCheck,
    RollbackMode,
    RollbackPolicy,
    RollbackRule,
    Service,
    ServiceLimits,
    SwitchPolicy,
    Timeouts,
    VerifyPolicy,
    WarmUp,
)
from bgproxy.domain.preview import Key, Preview, PreviewCookie
from bgproxy.domain.signals import Signal
from bgproxy.domain.tls import UpstreamTls
from tests.config.files import SERVICE, fault, faults, load, place

EVERY_KEY = """\
services:
  shop:
    hosts: [Shop.example.com, "*.shop.example.com"]
    paths: [/, /api]
    environments:
      blue: {backends: [http://10.0.0.1:80, "https://[::1]:443"], release: 1.10}
      green: {backends: [unix:/run/green.sock]}
    active: green
    upstream_tls: {server_name: Backend.Example.com, verify: false}
    hsts: max-age=60; includeSubDomains; preload
    timeouts:
      {connect: 1s, response: 2s, idle: 3s, request_head: 4s, request_body: 5s, upstream_idle: 6s,
       tunnel_idle: 7s}
    limits:
      {max_body: 10MiB, max_in_flight: 1, max_queued: 2, queue_timeout: 3s, max_held: 4,
       retry_share: 5%}
    health:
      {path: "/up?x=1", interval: 1s, timeout: 500ms, healthy_after: 3, unhealthy_after: 4,
       host: probe.example.com, port: 8080, headers: {X-Probe: 1, Authorization: "${SECRET}"},
       expect: {status: [200, 204-206], body: ok}}
    switch: {min_healthy: 50%, ready_timeout: 10s}
    drain: {timeout: 1m, tunnel_timeout: 2m, spread: 0}
    verify:
      warm_up: {path: /w, requests: 5, timeout: 3s}
      calls:
        - {name: smoke, command: [./smoke.sh, --fast], timeout: 20s}
      checks:
        - path: /a
        - name: b
          path: /b
          method: POST
          headers: {Content-Type: application/json}
          body: |
            {"n": 1}
          expect:
            status: 201
            headers: {Location: ^/b/}
            body: made
            body_regex: id=\\d+
            json: {a.b: 1, c: "1", d: null, e: [true, x]}
            max_latency: 100ms
          repeats: 5
          allowed_failures: 4
          timeout: 1s
    rollback:
      {bake: 5m, rule: threshold, mode: watch, grace: 1s, window: 20s, min_requests: 30,
       max_error_rate: 2.5%, harm_points: 1%, harm_odds: 2.5, evidence: 15, min_failures: 5,
       exclude_paths: [/ping], latency: off,
       signals: [{name: n, url: http://x/q, headers: {A: b}, json: a.0, above: 0.5, below: -1e3,
                  times: 2, interval: 1s, timeout: 2s}, {url: "http://x:9/q", json: a, above: 1}]}
    preview:
      listen: [127.0.0.1:9, unix:/run/p.sock]
      hosts: [Green.example.com]
      header: {name: X-Look, value: "${SECRET}-0123456789-abcdef"}
      cookie:
        {secret: "${SECRET}-0123456789-0123456789-0123456789", path: /p, name: p, lifetime: 1h}
      networks: [10.0.0.0/8]
      users: {eve: "${SECRET}-0123456789-abcdef"}
      ways: [header+network, cookie, listener, host+user]
      environment_header: X-Side
      tell_environment: always
    hooks:
      before_switch: [{command: [migrate]}]
      after_switch: [{webhook: http://chat/s, secret: "${SECRET}", attempts: 2}]
      after_rollback: [{webhook: http://chat/r}]
      after_bake: [{webhook: http://chat/b}]
      on_drained: [{command: [stop-old]}]
"""


def test_every_key_is_taken_over():
    """Each into the domain's field of its name."""
    (service,) = load(EVERY_KEY, SECRET="Bearer-x").services
    assert service == Service(
        name="shop",
        environments=(
            Environment(
                (
                    Backend("http://10.0.0.1:80", "http", "10.0.0.1", 80),
                    Backend("https://[::1]:443", "https", "::1", 443),
                ),
                "1.10",
            ),
            Environment((Backend("unix:/run/green.sock", "unix", path="/run/green.sock"),)),
        ),
        hosts=("shop.example.com", "*.shop.example.com"),
        paths=("/", "/api"),
        active=Color.GREEN,
        upstream_tls=UpstreamTls(server_name="backend.example.com", verify=False),
        hsts="max-age=60; includeSubDomains; preload",
        timeouts=Timeouts(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0),
        limits=ServiceLimits(10 * 1024**2, 1, 2, 3.0, 4, 0.05),
        health=HealthPolicy(
            path="/up?x=1",
            interval=1.0,
            timeout=0.5,
            healthy_after=3,
            unhealthy_after=4,
            host="probe.example.com",
            port=8080,
            headers=(("X-Probe", "1"), ("Authorization", "Bearer-x")),
            expect_status=((200, 200), (204, 206)),
            expect_body="ok",
        ),
        switch=SwitchPolicy(0.5, 10.0),
        drain=DrainPolicy(60.0, 120.0, 0.0),
        verify=VerifyPolicy(
            (HttpCheck("GET /a", "/a"), FULL_CHECK),
            (CommandCall("smoke", ("./smoke.sh", "--fast"), 20.0),),
            WarmUp("/w", 5, 3.0),
        ),
        rollback=RollbackPolicy(
            bake=300.0,
            rule=RollbackRule.THRESHOLD,
            mode=RollbackMode.WATCH,
            grace=1.0,
            window=20.0,
            min_requests=30,
            max_error_rate=0.025,
            harm_points=0.01,
            harm_odds=2.5,
            evidence=15.0,
            min_failures=5,
            exclude_paths=("/ping",),
            latency="off",
            signals=(
                Signal("n", "http://x/q", "a.0", 0.5, -1000.0, 2, (("A", "b"),), 1.0, 2.0),
                Signal("x:9", "http://x:9/q", "a", above=1.0),
            ),
        ),
        preview=Preview(
            listen=("127.0.0.1:9", "unix:/run/p.sock"),
            hosts=("green.example.com",),
            header=("X-Look", "Bearer-x-0123456789-abcdef"),
            cookie=PreviewCookie("Bearer-x-0123456789-0123456789-0123456789", "/p", "p", 3600.0),
            networks=("10.0.0.0/8",),
            users=(("eve", "Bearer-x-0123456789-abcdef"),),
            ways=(Key.HEADER | Key.NETWORK, Key.COOKIE, Key.LISTENER, Key.HOST | Key.USER),
            environment_header="X-Side",
            marks_live=True,
        ),
        hooks=Hooks(
            (CommandCall("migrate", ("migrate",)),),
            (WebhookCall("chat", "http://chat/s", "Bearer-x", attempts=2),),
            (WebhookCall("chat", "http://chat/r"),),
            (WebhookCall("chat", "http://chat/b"),),
            (CommandCall("stop-old", ("stop-old",)),),
        ),
    )


FULL_CHECK = HttpCheck(
    name="b",
    path="/b",
    method="POST",
    headers=(("Content-Type", "application/json"),),
    body='{"n": 1}\n',
    expect=Expectation(
        status=((201, 201),),
        headers=(("Location", "^/b/"),),
        body="made",
        body_regex=r"id=\d+",
        json=(("a.b", 1), ("c", "1"), ("d", None), ("e", [True, "x"])),
        max_latency=0.1,
    ),
    repeats=5,
    allowed_failures=4,
    timeout=1.0,
)


def test_what_is_not_given_is_the_domains_default():
    """The schema has no defaults of its own."""
    (service,) = load(SERVICE).services
    assert service == Service("default", service.environments)


def test_the_idle_environment_may_have_no_backend_yet():
    """They can be set through the API when there is a release to run."""
    empty = "{blue: {backends: ['http://h:1']}, green: {backends: []}}"
    (service,) = load(f"services: {{default: {{environments: {empty}}}}}").services
    assert service.environment(Color.GREEN) == Environment(())


@pytest.mark.parametrize(
    ("key", "path", "column", "problem", "remedy"),
    [
        ("hosts: []", "hosts", 12, "the list is empty", "at least 1"),
        ("hosts: a.example.com", "hosts", 12, "a list belongs here", "[ ]"),
        ("paths: [app]", "paths.0", 13, "'app' is not a path", "as in /app"),
        ("active: red", "active", 13, "'red' is not known here", "write blue or green"),
        ("timeouts: {connect: 0}", "timeouts.connect", 25, "out of range", "from 1ms"),
        ("timeouts: {idle: 75}", "timeouts.idle", 22, "'75' is not a duration", "250ms"),
        ("timeouts: {iddle: 75s}", "timeouts.iddle", 16, "not known", "did you mean idle?"),
        ("limits: {max_body: 1MB}", "limits.max_body", 24, "not a size", "write 1MiB"),
        ("limits: {max_body_bytes: 1}", "limits.max_body_bytes", 14, "not known", "max_body?"),
        ("limits: {retry_share: 0.2}", "limits.retry_share", 27, "not a share", "percentage"),
        ("health: {interval: 1ms}", "health.interval", 24, "out of range", "from 100ms to 1h"),
        ("health: {port: 65536}", "health.port", 20, "out of range", "from 0 to 65535"),
        ("health: {expect: {status: []}}", "health.expect.status", 31, "empty", "at least 1"),
        (
            "health: {expect: {status: [200, ok]}}",
            "health.expect.status.1",
            37,
            "'ok' is not a status code",
            '"200-399"',
        ),
        ("health: {headers: {Host: x}}", "health.headers.Host", 24, "by the proxy", "key host"),
        ("health: {headers: [x]}", "health.headers", 23, "a mapping belongs here", "its keys"),
        ("interval: 2s", "interval", 5, "not known", "it belongs to services.*.health"),
        ("proxy: {}", "proxy", 5, "not known", "it belongs to the top"),
        ("zebra: 1", "zebra", 5, "not known", "known here: hosts, paths, environments"),
        ("drain: 30s", "drain", 12, "a mapping belongs here", "its keys"),
        ("switch:", "switch", 12, "a mapping belongs here", "or remove the key"),
        ("rollback: {rule: thresold}", "rollback.rule", 22, "not known", "did you mean thresh"),
        ("rollback: {latency: no}", "rollback.latency", 25, "'no' is not known", "alert, rollb"),
        ("rollback: {harm_odds: 1}", "rollback.harm_odds", 27, "out of range", "from 1.1 to"),
    ],
)
def test_what_cannot_be_is_told_with_its_place_and_remedy(key, path, column, problem, remedy):
    """Exactly one fault each, at the value or the key that is wrong."""
    found = fault(f"{SERVICE}    {key}\n")
    assert place(found) == (f"services.default.{path}", 6, column)
    assert problem in found.problem
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("environments", "path", "column", "remedy"),
    [
        ("{}", "environments.blue", 34, "write blue: {backends:"),
        ("{blue: {}}", "environments.blue.backends", 41, "write backends: ["),
        ("{green: {backends: []}}", "environments.blue", 34, "write blue: {backends:"),
    ],
)
def test_both_environments_and_their_backends_must_be_named(environments, path, column, remedy):
    """They are all that has no default."""
    found = faults(f"services: {{default: {{environments: {environments}}}}}")
    (this,) = (item for item in found if item.path == f"services.default.{path}")
    assert place(this) == (f"services.default.{path}", 1, column + 2)
    assert this.problem == "this key is missing"
    assert remedy in this.remedy


def test_environments_are_needed():
    """A service without them serves nothing."""
    found = fault("services:\n  default:\n    active: blue\n")
    assert place(found) == ("services.default.environments", 3, 5)
    assert "write environments: with blue: and green: below it" in found.remedy
