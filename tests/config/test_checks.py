"""What only shows when several values are looked at together."""

from __future__ import annotations

import pytest

from bgproxy.config import checks
from tests.config.files import ENVIRONMENTS, SERVICE, fault, faults, load, place


def two_services(one, two):
    """Two services, each with one more line of keys."""
    return f"services:\n  one:\n{ENVIRONMENTS}    {one}\n  two:\n{ENVIRONMENTS}    {two}\n"


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        (
            "proxy: {listen: 127.0.0.1:8081}",
            ("proxy.listen", 1, 17),
            "127.0.0.1:8081 is taken by 127.0.0.1:8081 of admin.listen",
        ),
        (
            "admin: {listen: 127.0.0.1:8080}",
            ("admin.listen", 1, 17),
            "127.0.0.1:8080 is taken by 127.0.0.1:8080 of proxy.listen",
        ),
        (
            "proxy: {listen: ['0.0.0.0:80', '127.0.0.1:80']}",
            ("proxy.listen.1", 1, 32),
            "127.0.0.1:80 is taken by 0.0.0.0:80 of proxy.listen",
        ),
        (
            "admin: {listen: unix:/a}\nproxy: {listen: unix:/a}",
            ("admin.listen", 1, 17),
            "unix:/a is taken by unix:/a of proxy.listen",
        ),
    ],
)
def test_listeners_that_need_the_same_address_are_refused(text, where, problem):
    """Within one side and between the two; what the file says is at fault, not a default."""
    found = fault(f"{text}\n{SERVICE}")
    assert found.problem == problem
    assert place(found) == where


@pytest.mark.parametrize(
    ("one", "two", "where", "problem"),
    [
        (
            "active: blue",
            "active: blue",
            ("services.two.hosts", 8, 5),
            "* with the path / leads to one already",
        ),
        (
            "hosts: [a.example.com]",
            "hosts: [b.example.com, A.example.com]",
            ("services.two.hosts.1", 11, 28),
            "a.example.com with the path / leads to one already",
        ),
        (
            "paths: [/a, /b]",
            "paths: [/b/]",
            ("services.two.hosts", 8, 5),
            "* with the path /b/ leads to one already",
        ),
        (
            "hosts: [a.example.com, a.example.com]",
            "active: blue",
            ("services.one.hosts.1", 6, 28),
            "a.example.com stands there twice",
        ),
        (
            "paths: [/a, /b, /a/]",
            "active: blue",
            ("services.one.paths.2", 6, 21),
            "/a/ stands there twice",
        ),
    ],
)
def test_a_host_and_path_lead_to_one_service(one, two, where, problem):
    """The second that claims them is at fault."""
    found = fault(two_services(one, two))
    assert found.problem == problem
    assert place(found) == where


def test_services_may_share_a_host_or_a_path():
    """As long as they differ in the other."""
    text = two_services("paths: [/a]", "paths: [/b]")
    assert [service.paths for service in load(text).services] == [("/a",), ("/b",)]


@pytest.mark.parametrize(
    ("environments", "where", "problem"),
    [
        (
            "{blue: {backends: []}, green: {backends: ['http://h:1']}}",
            ("services.s.environments.blue.backends", 1, 48),
            "blue is the active environment and has no backend",
        ),
        (
            "{blue: {backends: ['http://h:1', 'http://h:1/']}, green: {backends: []}}",
            ("services.s.environments.blue.backends.1", 1, 63),
            "http://h:1 stands there twice",
        ),
    ],
)
def test_backends_that_cannot_serve_are_refused(environments, where, problem):
    """None for the active environment; one twice would get twice the traffic."""
    found = fault(f"services: {{s: {{environments: {environments}}}}}")
    assert place(found) == where
    assert found.problem == problem


def test_backends_are_bounded(monkeypatch):
    """By the room in the shared memory."""
    monkeypatch.setattr(checks, "MAX_BACKENDS", 1)
    found = fault(SERVICE)
    assert (found.path, found.problem) == ("services", "they have 2 backends")
    assert found.remedy == "at most 1 can be"


def warning(text):
    """The only warning of a file that can be used."""
    (only,) = load(text).warnings
    assert only.file.endswith("bgproxy.yaml")
    return only


def test_a_backend_of_both_environments_is_warned_about():
    """It can be used, while a release is prepared, but switches nothing."""
    same = "['http://h:1']"
    found = warning(
        f"services: {{s: {{environments: {{blue: {{backends: {same}}}, "
        f"green: {{backends: {same}}}}}}}}}"
    )
    assert place(found) == ("services.s.environments.green.backends.0", 1, 84)
    assert "is a backend of blue as well" in found.problem


@pytest.mark.parametrize(
    ("rollback", "where", "problem"),
    [
        (
            "{max_error_rate: 1%}",
            ("services.default.rollback.max_error_rate", 6, 32),
            "this says nothing while the rule is sequential",
        ),
        (
            "{rule: off, window: 1m}",
            ("services.default.rollback.window", 6, 35),
            "this says nothing while the rule is off",
        ),
        (
            "{bake: 10s, grace: 10s}",
            ("services.default.rollback.grace", 6, 34),
            "this is as long as the bake",
        ),
    ],
)
def test_rollback_settings_that_do_nothing_are_warned_about(rollback, where, problem):
    """Someone believed that they do."""
    found = warning(f"{SERVICE}    rollback: {rollback}\n")
    assert place(found) == where
    assert problem in found.problem


@pytest.mark.parametrize(
    "rollback",
    [
        "{rule: threshold, max_error_rate: 1%}",
        "{max_error_rate: 5%, window: 10s, min_requests: 20}",
        "{rule: off, bake: 1s}",
        "{bake: 0}",
    ],
)
def test_rollback_settings_that_make_sense_are_not(rollback):
    """Defaults may be written down, and no bake needs no grace."""
    assert load(f"{SERVICE}    rollback: {rollback}\n").warnings == ()


def test_a_token_that_can_be_guessed_is_warned_about_without_showing_it():
    """The remedy makes a better one."""
    found = warning(f"admin: {{tokens: [{{name: ci, token: hunter2}}]}}\n{SERVICE}")
    assert place(found) == ("admin.tokens.0.token", 1, 36)
    assert "hunter2" not in str(found)
    assert "bgproxy token new" in found.remedy


@pytest.mark.parametrize(
    ("listen", "backend", "problem"),
    [
        ("127.0.0.1:9001", "http://127.0.0.1:9001", "http://127.0.0.1:9001 is this proxy itself"),
        ("0.0.0.0:9001", "http://localhost:9001", "http://localhost:9001 is this proxy itself"),
        ("[::]:9001", "http://[::1]:9001", "http://[::1]:9001 is this proxy itself"),
        ("0.0.0.0:9001", "http://127.0.0.2:9001", "http://127.0.0.2:9001 is this proxy itself"),
        ("localhost:9001", "http://[::1]:9001", "http://[::1]:9001 is this proxy itself"),
        ("unix:/a", "unix:/a", "unix:/a is this proxy itself"),
    ],
)
def test_a_backend_that_is_the_proxy_itself_is_refused(listen, backend, problem):
    """Its requests would go round until nothing is left to carry them."""
    text = SERVICE.replace("http://127.0.0.1:9001", backend)
    found = fault(f"proxy: {{listen: '{listen}'}}\n{text}")
    assert found.problem == f"{problem} (proxy.listen)"
    assert found.path == "services.default.environments.blue.backends.0"
    assert found.line == 5


@pytest.mark.parametrize(
    ("listen", "backend"),
    [
        ("127.0.0.1:9001", "http://127.0.0.2:9001"),
        ("0.0.0.0:9001", "http://10.0.0.7:9001"),
        ("0.0.0.0:9001", "http://[::1]:9001"),
        ("127.0.0.1:9000", "http://127.0.0.1:9001"),
    ],
)
def test_a_backend_beside_the_proxy_is_none_of_its_listeners(listen, backend):
    """Another address, another family or another port is somebody else."""
    load(f"proxy: {{listen: '{listen}'}}\n" + SERVICE.replace("http://127.0.0.1:9001", backend))


def test_a_backend_that_is_the_admin_listener_or_a_preview_is_refused():
    """They are the proxy as well."""
    text = SERVICE + "    preview: {listen: 127.0.0.1:9002}\n"
    problems = {found.problem for found in faults(f"admin: {{listen: 127.0.0.1:9001}}\n{text}")}
    assert problems == {
        "http://127.0.0.1:9001 is this proxy itself (admin.listen)",
        "http://127.0.0.1:9002 is this proxy itself (services.default.preview.listen)",
    }
