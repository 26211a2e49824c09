"""The client itself: one method for each call of the admin API."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from bgproxy.client.documents import (
    DeploymentDocument,
    PlanDocument,
    ServiceDocument,
    VerificationDocument,
)
from bgproxy.client.wire import Address, AdminEvent, UnreachableError, problem_of, read_events
from bgproxy.local_socket import DEFAULT_ADMIN


class AdminClient:
    """Calls of the admin API; each opens a connection of its own.

    Args:
        admin: ``http://host:port``, ``https://host:port`` or ``unix:/path``.
        token: sent as a bearer token; empty sends none.
        timeout: seconds for a call that does not wait for a deployment.
        ca: PEM file of the authorities that an ``https`` address is trusted by; the system's
            without one.

    Raises:
        ValueError: for an address of another form.
    """

    def __init__(
        self, admin: str = DEFAULT_ADMIN, *, token: str = "", timeout: float = 10, ca: str = ""
    ) -> None:
        self._admin = admin
        self._token = token
        self._timeout = timeout
        self._ca = ca
        self._address = Address.parse(admin)

    # -- reads ------------------------------------------------------------------------------------

    def services(self) -> list[ServiceDocument]:
        """All services."""
        return cast(list[ServiceDocument], self._call("GET", "/v1/services")["services"])

    def service(self, name: str) -> ServiceDocument:
        """One service."""
        return cast(ServiceDocument, self._call("GET", _path(name)))

    def history(self, name: str, limit: int = 50) -> list[DeploymentDocument]:
        """Deployments of a service, newest first."""
        answer = self._call("GET", _path(name, f"history?limit={limit}"))
        return cast(list[DeploymentDocument], answer["deployments"])

    def deployment(self, name: str, id: int | str) -> DeploymentDocument:
        """One deployment with its explanation."""
        return cast(
            DeploymentDocument, self._call("GET", _path(name, f"deployments/{quote(str(id))}"))
        )

    def audit(self, name: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Who changed what, and from where, newest first; of all services unless one is named."""
        query = f"audit?limit={limit}"
        answer = self._call("GET", f"/v1/{query}" if name is None else _path(name, query))
        return cast(list[dict[str, Any]], answer["audit"])

    def request(self, request_id: str) -> dict[str, Any]:
        """How a request ended, by its X-Request-Id."""
        return self._call("GET", f"/v1/requests/{quote(request_id, safe='')}")

    def diff(self, name: str) -> dict[str, Any]:
        """Where the configuration file and the state differ."""
        return self._call("GET", _path(name, "diff"))

    def is_alive(self) -> bool:
        """Whether the proxy's supervisor answers; no token needed."""
        return self._call("GET", "/healthz").get("status") == "ok"

    def is_ready(self) -> bool:
        """Whether traffic and changes are possible; a `ProblemError` says why not."""
        return self._call("GET", "/readyz").get("status") == "ready"

    def events(self, after: int | None = None, silence: float = 45) -> Iterator[AdminEvent]:
        """Events as they happen, and those after `after` that the proxy still has.

        Args:
            silence: seconds without even a heartbeat after which the stream counts as broken.

        Raises:
            UnreachableError: when the stream breaks; go on with the last event's id.
        """
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        connection = self._connect(silence)
        try:
            response = self._send(connection, "GET", "/v1/events", None, headers)
            if response.status != 200:
                raise problem_of(response.status, response.read())
            yield from read_events(response)
            raise UnreachableError(f"{self._admin} ended the event stream")
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    # -- changes ----------------------------------------------------------------------------------

    def switch(
        self,
        name: str,
        *,
        to: str | None = None,
        verify: bool = True,
        force: bool = False,
        wait: str = "applied",
        reason: str = "",
        expected_generation: int | None = None,
        release: str | None = None,
        irreversible: str = "",
        hold: bool = False,
        hold_timeout: str | float | None = None,
        on_timeout: str = "cancel",
        idempotency_key: str | None = None,
    ) -> DeploymentDocument:
        """Move the active pointer, to the idle environment unless `to` names one.

        Blocks until `wait` is reached: ``held``, ``applied``, ``drained`` or ``finished``.
        `irreversible` says why the release must not be taken back by itself. With `hold` it waits,
        once verified, for the approval of another token, for `hold_timeout` (``30m``) at most;
        `on_timeout` is ``cancel`` or ``proceed``.
        """
        body: dict[str, Any] = {
            "to": to,
            "verify": verify,
            "force": force,
            "wait": wait,
            "reason": reason,
            "expected_generation": expected_generation,
            "release": release,
            "irreversible": irreversible,
        }
        if hold:
            body |= {"hold": True, "on_timeout": on_timeout}
            body |= {} if hold_timeout is None else {"hold_timeout": hold_timeout}
        answer = self._change("POST", _path(name, "switch"), body, idempotency_key)
        return cast(DeploymentDocument, answer)

    def rollback(
        self,
        name: str,
        *,
        wait: str = "applied",
        reason: str = "",
        expected_generation: int | None = None,
        force: bool = False,
        drill: bool = False,
        idempotency_key: str | None = None,
    ) -> DeploymentDocument:
        """Move the pointer back to the environment before; `force` even if irreversible.

        Args:
            drill: go the judge's way, and keep in the history what its gate said.
        """
        body = {
            "wait": wait,
            "reason": reason,
            "expected_generation": expected_generation,
            "force": force,
        }
        body |= {"drill": True} if drill else {}
        answer = self._change("POST", _path(name, "rollback"), body, idempotency_key)
        return cast(DeploymentDocument, answer)

    def verify(self, name: str, environment: str | None = None) -> VerificationDocument:
        """Run the configured checks, against the idle environment unless one is named."""
        answer = self._change("POST", _path(name, "verify"), {"environment": environment})
        return cast(VerificationDocument, answer)

    def plan(self, name: str, to: str | None = None) -> PlanDocument:
        """Say what a switch would meet; nothing is changed."""
        return cast(PlanDocument, self._change("POST", _path(name, "plan"), {"to": to}))

    def set_backends(
        self,
        name: str,
        environment: str,
        backends: list[str],
        *,
        release: str | None = None,
        force: bool = False,
    ) -> ServiceDocument:
        """Point an environment at other backends."""
        body = {"backends": backends, "release": release, "force": force}
        path = _path(name, f"environments/{quote(environment, safe='')}/backends")
        return cast(ServiceDocument, self._change("PUT", path, body))

    def pause(self, name: str, timeout: str | float | None = None) -> ServiceDocument:
        """Hold new requests, for ``30s`` unless said otherwise."""
        body = {} if timeout is None else {"timeout": timeout}
        return cast(ServiceDocument, self._change("POST", _path(name, "pause"), body))

    def resume(self, name: str) -> ServiceDocument:
        """Let held requests go on."""
        return cast(ServiceDocument, self._change("POST", _path(name, "resume"), {}))

    def begin_maintenance(
        self, name: str, *, message: str = "", allow: Sequence[str] = ()
    ) -> ServiceDocument:
        """Close a service to the public; `allow` are the networks that are served as always."""
        body = {"on": True, "message": message, "allow": list(allow)}
        return cast(ServiceDocument, self._change("POST", _path(name, "maintenance"), body))

    def end_maintenance(self, name: str) -> ServiceDocument:
        """Open a service again."""
        body = {"on": False}
        return cast(ServiceDocument, self._change("POST", _path(name, "maintenance"), body))

    def lock(self, name: str, reason: str, until: str | None = None) -> ServiceDocument:
        """Refuse every switch; `until` is a duration (``2h``) or an RFC 3339 time."""
        body = {"reason": reason} | ({} if until is None else {"until": until})
        return cast(ServiceDocument, self._change("POST", _path(name, "lock"), body))

    def unlock(self, name: str) -> ServiceDocument:
        """Allow switches again."""
        return cast(ServiceDocument, self._change("POST", _path(name, "unlock"), {}))

    def approve(
        self, name: str, *, deployment: int | None = None, reason: str = ""
    ) -> DeploymentDocument:
        """Let the switch that waits go on; `deployment` says which one is meant."""
        body = {"deployment": deployment, "reason": reason}
        return cast(DeploymentDocument, self._change("POST", _path(name, "approve"), body))

    def reject(
        self, name: str, *, deployment: int | None = None, reason: str = ""
    ) -> DeploymentDocument:
        """End the switch that waits."""
        body = {"deployment": deployment, "reason": reason}
        return cast(DeploymentDocument, self._change("POST", _path(name, "reject"), body))

    def test_notifications(self) -> list[dict[str, Any]]:
        """Send a test to everybody who is told what happens; what came back from each."""
        answer = self._change("POST", "/v1/notifications/test", {})
        return cast(list[dict[str, Any]], answer["results"])

    # -- the wire ---------------------------------------------------------------------------------

    def _change(
        self, method: str, path: str, body: Mapping[str, Any], key: str | None = None
    ) -> dict[str, Any]:
        """A change has no time-out: how long it may take is the server's configuration."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call(method, path, body, headers, timeout=None)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = -1,
    ) -> dict[str, Any]:
        connection = self._connect(self._timeout if timeout == -1 else timeout)
        try:
            response = self._send(connection, method, path, body, headers or {})
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if response.status != 200:
            raise problem_of(response.status, raw)
        try:
            answer = json.loads(raw)
        except ValueError:
            raise UnreachableError(f"{self._admin} does not answer as a bgproxy does") from None
        return cast(dict[str, Any], answer)

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        try:
            return self._address.connect(timeout, self._ca)
        except OSError as error:
            raise UnreachableError(f"{self._ca}: no authorities can be read from it") from error

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        fields = {"Accept": "application/json", "User-Agent": "bgproxy-client", **headers}
        if self._token:
            fields["Authorization"] = f"Bearer {self._token}"
        payload = None
        if body is not None:
            fields["Content-Type"] = "application/json"
            payload = json.dumps(body).encode()
        connection.request(method, path, payload, fields)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> UnreachableError:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnreachableError(f"cannot reach the admin API at {self._admin}: {why}")


def _path(name: str, rest: str = "") -> str:
    path = f"/v1/services/{quote(name, safe='')}"
    return f"{path}/{rest}" if rest else path
