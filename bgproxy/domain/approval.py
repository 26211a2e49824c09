"""Two people, two tokens: a switch that waits until somebody else approves it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgproxy.domain.deployment import Deployment
from bgproxy.errors import Refused

DEFAULT_TIMEOUT = 1800.0


class OnTimeout(enum.StrEnum):
    """What becomes of a switch that nobody approved in time."""

    CANCEL = "cancel"
    PROCEED = "proceed"


class Decision(enum.StrEnum):
    """How a wait for approval ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Hold:
    """That a switch waits for an approval, once its target is verified.

    Args:
        timeout: seconds that it waits.
        on_timeout: what comes after them.
    """

    timeout: float = DEFAULT_TIMEOUT
    on_timeout: OnTimeout = OnTimeout.CANCEL


def check_decider(
    pending: Deployment | None, held: Mapping[str, Any] | None, named: int | None, service: str
) -> Deployment:
    """The deployment that waits for a decision.

    Args:
        pending: what is being prepared, if anything is.
        held: what is known of its wait; None while it does not wait.
        named: the deployment that whoever decides has looked at, if they say so.

    Raises:
        Refused: 409, nothing waits, or another than the named one.
    """
    if pending is None or held is None:
        raise Refused(409, "nothing-to-approve", f"No switch of {service} waits for an approval.")
    if named is not None and named != pending.id:
        raise Refused(
            409,
            "nothing-to-approve",
            f"Deployment {pending.id} waits for an approval, not deployment {named}.",
            {"deployment": pending.id},
        )
    return pending


def check_approver(deployment: Deployment, actor: str) -> None:
    """Let another than who asked approve. Rejecting is open to both.

    Raises:
        Refused: 409, it is the same one, as everybody is where there are no tokens.
    """
    if actor == deployment.actor:
        raise Refused(
            409,
            "same-actor",
            f"{actor} asked for deployment {deployment.id}, so somebody else has to approve it: "
            "with a token of another name (admin.tokens).",
            {"deployment": deployment.id, "actor": actor},
        )
