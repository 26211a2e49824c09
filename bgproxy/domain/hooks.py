"""Calls to the outside around a deployment: commands and webhooks, when, and who may veto.

Only what runs before the switch can stop it; what runs afterwards tells others. A webhook is
signed over its time and body, so that a receiver can tell ours from others' and old from new, and
carries a key by which one that is sent again is known.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from dataclasses import dataclass, field


class Moment(enum.StrEnum):
    """When a hook is called."""

    BEFORE_SWITCH = "before_switch"
    AFTER_SWITCH = "after_switch"
    AFTER_ROLLBACK = "after_rollback"
    AFTER_BAKE = "after_bake"
    ON_DRAINED = "on_drained"


@dataclass(frozen=True, slots=True)
class CommandCall:
    """A command of the machine the proxy runs on; exit status 0 is a yes.

    It gets the document as JSON on its standard input, and the main facts as ``BGPROXY_…``
    variables.

    Args:
        name: for reports.
        argv: the program and its arguments; no shell in between.
        timeout: seconds until it is killed, with what it started.
    """

    name: str
    argv: tuple[str, ...]
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError(f"{self.name}: a command needs at least a program")


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A POST of the document as JSON; an answer of 2xx is a yes.

    Args:
        name: for reports.
        secret: signs it (`sign`); empty for no signature.
        timeout: seconds for one attempt.
        attempts: how often it is sent at most; only no answer, 429 and 5xx are tried again.
    """

    name: str
    url: str
    secret: str = field(default="", repr=False)
    timeout: float = 30.0
    attempts: int = 3


Call = CommandCall | WebhookCall


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is called when, in this order."""

    before_switch: tuple[Call, ...] = ()
    after_switch: tuple[Call, ...] = ()
    after_rollback: tuple[Call, ...] = ()
    after_bake: tuple[Call, ...] = ()
    on_drained: tuple[Call, ...] = ()

    def at(self, moment: Moment) -> tuple[Call, ...]:
        """The calls of a moment."""
        calls: tuple[Call, ...] = getattr(self, moment.value)
        return calls


def retry_pause(attempt: int) -> float:
    """Seconds after a failed attempt (the first is 1) until the next: growing, bounded."""
    return float(min(30, 2 ** (attempt - 1)))


def is_worth_retrying(status: int) -> bool:
    """Whether another attempt can help after that answer."""
    return status == 429 or status >= 500


def sign(secret: str, at: int, body: bytes) -> str:
    """The signature of a webhook: ``t=TIME,v1=HEX``, HMAC-SHA-256 over ``TIME.BODY`` (RFC 2104).

    Args:
        at: Unix time in whole seconds; receivers should refuse what is minutes old.
    """
    mac = hmac.new(secret.encode(), b"%d.%b" % (at, body), hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
