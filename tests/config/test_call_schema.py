"""The keys of commands and webhooks: what they become, and what they refuse."""

from __future__ import annotations

import pytest

from bgproxy.config.describe import describe
from bgproxy.domain.hooks import CommandCall, Hooks, Moment, WebhookCall
from tests.config.files import SERVICE, fault, load, place

SECRET = "0123456789abcdef0123456789abcdef"


def hooks(value: str) -> str:
    """A file with such calls after a switch."""
    return f"{SERVICE}    hooks: {{after_switch: [{value}]}}\n"


def test_calls_are_taken_over():
    """Each kind with what belongs to it; names are made where none is given."""
    text = hooks(
        "{command: [/bin/tell, a b]}, {webhook: http://127.0.0.1:1/x}, "
        '{name: ci, webhook: "https://ci/y?z=1", secret: "${KEY}", timeout: 5s, attempts: 1}'
    )
    (service,) = load(text, KEY=SECRET).services
    assert service.hooks == Hooks(
        after_switch=(
            CommandCall("tell", ("/bin/tell", "a b")),
            WebhookCall("127.0.0.1:1", "http://127.0.0.1:1/x"),
            WebhookCall("ci", "https://ci/y?z=1", SECRET, 5.0, 1),
        )
    )


@pytest.mark.parametrize("moment", Moment)
def test_every_moment_can_be_configured(moment: Moment):
    """By its own name, and no other one is."""
    (service,) = load(f"{SERVICE}    hooks: {{{moment}: [{{command: [x]}}]}}\n").services
    assert service.hooks == Hooks(**{moment.value: (CommandCall("x", ("x",)),)})


@pytest.mark.parametrize(
    ("value", "where", "problem"),
    [
        ("{name: x}", "0", "either a command or a webhook"),
        ("{command: [x], webhook: http://x/}", "0.webhook", "either a command or a webhook"),
        ("{command: [x], secret: y}", "0.secret", "a command has no secret"),
        ("{command: [x], attempts: 2}", "0.attempts", "a command has no attempts"),
        ('{command: [""]}', "0.command.0", "the program has no name"),
        ("{command: x -y}", "0.command", "list"),
        ("{webhook: ftp://x/}", "0.webhook", "not a URL"),
        ("{webhook: http://x/, timeout: 0}", "0.timeout", "out of range"),
        ("{command: [a/x]}, {command: [b/x]}", "1.name", "two calls are named 'x'"),
    ],
)
def test_what_cannot_be_called_is_refused(value, where, problem):
    """At its place."""
    found = fault(hooks(value))
    assert place(found)[0] == f"services.default.hooks.after_switch.{where}"
    assert problem in found.problem


def test_calls_of_verification_are_told_apart_too():
    """The report names them."""
    found = fault(f"{SERVICE}    verify: {{calls: [{{command: [x]}}, {{command: [x]}}]}}\n")
    assert found.path == "services.default.verify.calls.1.name"


def test_no_secret_is_described():
    """Only who is called and how."""
    text = describe(
        load(
            hooks('{webhook: "https://chat/T0KEN", secret: "${KEY}"}, {command: [x, --key=T0KEN]}'),
            KEY=SECRET,
        )
    )
    assert "hooks      after switch chat (webhook), x (command)" in text
    assert "T0KEN" not in text
    assert SECRET not in text


def test_what_comes_before_a_switch_is_described():
    """In its order."""
    keys = "{warm_up: {path: /w, requests: 9}, checks: [{path: /c}], calls: [{command: [./smoke]}]}"
    text = " ".join(describe(load(f"{SERVICE}    verify: {keys}\n")).split())
    assert (
        "after warm-up with 9 requests for /w, these checks: GET /c, a yes of smoke (command)"
        in text
    )


@pytest.mark.parametrize("path", ["hooks: {on_drained:", "verify: {calls:"])
def test_a_secret_that_can_be_guessed_is_warned_about_without_showing_it(path):
    """As tokens are."""
    text = f"{SERVICE}    {path} [{{name: n, webhook: http://x/, secret: hunter2}}]}}\n"
    (warning,) = load(text).warnings
    assert warning.path.endswith(".0.secret")
    assert "the secret of n is short enough" in warning.problem
    assert "hunter2" not in str(warning)
