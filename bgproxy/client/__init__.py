"""The admin API from outside: a small client over the standard library.

Each call opens a connection of its own, so there is nothing to close::

    client = AdminClient("http://127.0.0.1:8081", token="...")
    deployment = client.switch("default", to="green", wait="drained")

Errors: `ProblemError` is an answer that says no, with the problem document; `UnreachableError`
means that nobody answered as an admin API does.
"""

from __future__ import annotations

from bgproxy.client.admin import AdminClient
from bgproxy.client.documents import (
    BackendDocument,
    BakeDocument,
    DeploymentDocument,
    DrainDocument,
    EnvironmentDocument,
    EnvironmentsDocument,
    HeldDocument,
    LockDocument,
    MaintenanceDocument,
    PlanDocument,
    ServiceDocument,
    VerificationDocument,
)
from bgproxy.client.wire import AdminEvent, ProblemError, UnreachableError
from bgproxy.local_socket import DEFAULT_ADMIN

__all__ = [
    "DEFAULT_ADMIN",
    "AdminClient",
    "AdminEvent",
    "BackendDocument",
    "BakeDocument",
    "DeploymentDocument",
    "DrainDocument",
    "EnvironmentDocument",
    "EnvironmentsDocument",
    "HeldDocument",
    "LockDocument",
    "MaintenanceDocument",
    "PlanDocument",
    "ProblemError",
    "ServiceDocument",
    "UnreachableError",
    "VerificationDocument",
]
