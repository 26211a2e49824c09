"""What the admin API asks of the control plane; the coordinator is the implementation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bgproxy.domain.approval import Decision, Hold
from bgproxy.domain.model import Color


class PermitOperations(Protocol):
    """Locks and decisions, as the admin API offers them."""

    async def lock(
        self, name: str, *, reason: str, until: float | None, actor: str
    ) -> dict[str, Any]:
        """Refuse every switch until unlocked, or until that Unix time; returns the SERVICE."""

    async def unlock(self, name: str, actor: str) -> dict[str, Any]:
        """Allow switches again; returns the SERVICE."""

    async def decide(
        self, name: str, decision: Decision, *, named: int | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """Approve or reject the switch that waits; returns the DEPLOYMENT that came of it."""


class NotifierOperations(Protocol):
    """Those who are told, as the admin API sees them."""

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Messages by the receiver's name and outcome."""

    async def test(self, actor: str) -> dict[str, Any]:
        """Send a test through each; returns what came back."""


class InquiryOperations(Protocol):
    """Requests that have ended, as the admin API offers them."""

    async def find(self, request_id: str) -> dict[str, Any]:
        """What is remembered of a request."""


class Operations(Protocol):
    """The reads and changes that the admin API offers; every refusal is a `Refused`.

    Documents are ready for JSON. `actor` is the name of the token that asks, or ``local``.
    """

    @property
    def inquiries(self) -> InquiryOperations:
        """Requests that have ended."""

    @property
    def notifier(self) -> NotifierOperations:
        """Those who are told."""

    @property
    def permits(self) -> PermitOperations:
        """Who may switch when."""

    def service_names(self) -> list[str]:
        """The names of all services, in the configuration's order."""

    def service(self, name: str) -> dict[str, Any]:
        """The SERVICE document."""

    async def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        """DEPLOYMENT documents, newest first."""

    async def deployment(self, name: str, id: int | str) -> dict[str, Any]:
        """One DEPLOYMENT document with its explanation."""

    async def audit(self, name: str | None, limit: int) -> list[dict[str, Any]]:
        """Who changed what, and from where, newest first; of all services unless one is named."""

    def diff(self, name: str) -> dict[str, Any]:
        """Where the configuration file and the state differ."""

    async def switch(
        self,
        name: str,
        *,
        to: Color | None,
        verify: bool = True,
        force: bool = False,
        wait: str = "applied",
        reason: str = "",
        expected_generation: int | None = None,
        release: str | None = None,
        irreversible: str = "",
        hold: Hold | None = None,
        actor: str,
    ) -> dict[str, Any]:
        """Move the active pointer; returns a DEPLOYMENT when `wait` is reached."""

    async def rollback(
        self,
        name: str,
        *,
        reason: str = "",
        wait: str = "applied",
        expected_generation: int | None = None,
        force: bool = False,
        drill: bool = False,
        actor: str,
    ) -> dict[str, Any]:
        """Move the pointer back; returns a DEPLOYMENT when `wait` is reached."""

    async def verify(self, name: str, color: Color | None, actor: str) -> dict[str, Any]:
        """Run the checks against an environment, the idle one unless named."""

    async def plan(self, name: str, to: Color | None, actor: str) -> dict[str, Any]:
        """The PLAN document: what a switch would meet; nothing is changed."""

    async def set_backends(
        self,
        name: str,
        color: Color,
        backends: list[str],
        *,
        release: str | None,
        force: bool = False,
        actor: str,
    ) -> dict[str, Any]:
        """Point an environment at other backends; returns the SERVICE."""

    async def pause(self, name: str, timeout: float, actor: str) -> dict[str, Any]:
        """Hold new requests for at most that many seconds; returns the SERVICE."""

    async def resume(self, name: str, actor: str) -> dict[str, Any]:
        """Let held requests go on; returns the SERVICE."""

    async def set_maintenance(
        self, name: str, *, is_on: bool, message: str, allow: list[str], actor: str
    ) -> dict[str, Any]:
        """Close a service to the public, or open it again; returns the SERVICE."""

    def is_ready(self) -> tuple[bool, str]:
        """Whether traffic and changes are possible, and if not, why."""
