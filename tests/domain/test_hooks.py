"""Hooks: who is called when, how often, and how a receiver knows us."""

from __future__ import annotations

import pytest

from bgproxy.domain.hooks import (
    CommandCall,
    Hooks,
    Moment,
    WebhookCall,
    is_worth_retrying,
    retry_pause,
    sign,
)


def test_every_moment_has_its_calls() -> None:
    """And none of another's."""
    for moment in Moment:
        call = CommandCall(moment.value, ("true",))
        hooks = Hooks(**{moment.value: (call,)})
        assert [bool(hooks.at(other)) for other in Moment] == [other is moment for other in Moment]


def test_signature_can_be_checked_by_anybody_with_the_secret() -> None:
    """The value that `openssl dgst -sha256 -hmac` gives for the time, a dot and the body."""
    assert sign("key", 1700000000, b'{"a":1}') == (
        "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
    )
    assert sign("other", 1700000000, b'{"a":1}') != sign("key", 1700000000, b'{"a":1}')


def test_pauses_grow_and_stay_bounded() -> None:
    """1, 2, 4 … at most 30 seconds."""
    assert [retry_pause(n) for n in (1, 2, 3, 10)] == [1.0, 2.0, 4.0, 30.0]


@pytest.mark.parametrize(("status", "expected"), [(500, True), (429, True), (404, False)])
def test_only_what_may_pass_later_is_tried_again(status: int, expected: bool) -> None:
    """A receiver that says no has said no."""
    assert is_worth_retrying(status) is expected


def test_secrets_are_not_shown() -> None:
    """Neither in logs nor in tracebacks."""
    assert "s3cret" not in repr(WebhookCall("x", "http://x", secret="s3cret"))


def test_a_command_needs_a_program() -> None:
    """Said when the configuration is read, not when it is needed."""
    with pytest.raises(ValueError, match="at least a program"):
        CommandCall("x", ())
