"""What stands before every handler of the admin API, outermost first.

1. `answer_problems`: whatever a handler raises becomes a problem document.
2. `check_host`: only names of this listener are served (against DNS rebinding).
3. `check_site`: a page of another site cannot change anything (against cross-site requests).
4. `TokenCheck`: who asks, and whether the route's role allows it.

The last one knows the route's role from the table in `api`; a test names every route that asks for
no token.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bgproxy.config.settings import Role
from bgproxy.controlplane.auth import LOCAL, Access, Principal
from bgproxy.controlplane.peers import Peer, peer_of, user_name
from bgproxy.controlplane.problems import problem_response
from bgproxy.errors import Refused, StateError
from bgproxy.state.origin import ORIGIN

PRINCIPAL = web.RequestKey("principal", Principal)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_CLOSING = (401, 429)
"""Whoever guesses tokens begins with a new connection each time, where `Door` can tell."""

_LOOPBACK_NAMES = frozenset({"localhost"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "bgproxy",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_log = structlog.get_logger("bgproxy.admin")


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer the fields that keep browsers from doing more with it than meant."""
    add_headers_to(response)


def add_headers_to(response: web.StreamResponse) -> None:
    """The same for an answer to what never became a request."""
    for name, value in _HEADERS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals, aiohttp's own errors and mistakes of ours into problem documents."""
    try:
        return await handler(request)
    except Refused as refusal:
        response = problem_response(refusal, extra_headers(refusal))
        if refusal.status in _CLOSING:
            response.force_close()
        return response
    except StateError as error:
        return problem_response(Refused(503, "state-unwritable", str(error)))
    except web.HTTPNotFound:
        detail = f"Nothing is served at {request.path}; /openapi.json describes what is."
        return problem_response(Refused(404, "not-found", detail))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.path} takes {allowed}, not {request.method}."
        return problem_response(Refused(405, "method-not-allowed", detail), {"Allow": allowed})
    except web.HTTPRequestEntityTooLarge as error:
        return problem_response(Refused(413, "body-too-large", error.text or "Too large."))
    except web.HTTPException:
        raise
    except Exception:
        _log.exception("admin_request_failed", method=request.method, path=request.path)
        detail = "The request could not be carried out; the proxy's log says why."
        return problem_response(Refused(500, "internal", detail))


def extra_headers(refusal: Refused) -> dict[str, str]:
    """The fields that belong to a refusal's status."""
    if refusal.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="bgproxy"'}
    if refusal.status in (429, 503):
        return {"Retry-After": str(math.ceil(float(refusal.facts.get("retry_after", 1))))}
    return {}


def check_host(access: Access) -> Middleware:
    """Serve only loopback names, the address a connection came to, and configured names.

    A page that resolves its own name to this listener (DNS rebinding) sends that name as Host.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        field = request.headers.get("Host", "")  # request.host would ask DNS where there is none
        host = _host_name(field)
        is_known = host in _LOOPBACK_NAMES or host in access.hosts
        if not is_known and not _is_own_address(host, request):
            raise Refused(
                421,
                "host-not-allowed",
                f"{field!r} is not a name of this listener; add it to admin.allowed_hosts.",
            )
        return await handler(request)

    return middleware


def _host_name(host: str) -> str:
    """The name or address of a Host field, without port, brackets, or a final dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower().rstrip(".")


def _is_own_address(host: str, request: web.Request) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    own = request.get_extra_info("sockname")
    return address.is_loopback or (isinstance(own, tuple) and own[0] == str(address))


@web.middleware
async def check_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse changes that a browser sends for a page of another site (Fetch Metadata, Origin)."""
    if request.method not in SAFE_METHODS:
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("Host")
        if site not in ("none", "same-origin") or foreign:
            raise Refused(
                403, "cross-site", "Changes are taken from this listener's own page only."
            )
    return await handler(request)


class TokenCheck:
    """Finds out who asks and holds that against the role that the route's handler needs.

    Over a unix socket it is the user who opened it, unless a token says more. Wrong tokens are
    counted by address; `Door` sees to those of an address that had too many.

    Args:
        access: knows the tokens, and counts the wrong ones.
        roles: what each handler needs; handlers that are not in it are open to all.
    """

    def __init__(self, access: Access, roles: Mapping[Handler, Role | None]) -> None:
        self._access = access
        self._roles = roles

    def middleware(self) -> Middleware:
        """The check as aiohttp takes it."""

        @web.middleware
        async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
            needed = self._roles.get(request.match_info.handler)
            if needed is not None:
                if request.transport is None:
                    raise ConnectionResetError  # nobody is there any more
                peer = peer_of(request.transport)
                principal = await self._authenticate(request, peer)
                demand(principal, needed)
                ORIGIN.set(str(peer))
                request[PRINCIPAL] = principal
            return await handler(request)

        return check_token

    async def _authenticate(self, request: web.Request, peer: Peer) -> Principal:
        access = self._access
        field = request.headers.get("Authorization")
        if peer.is_local_user and (field is None or access.authenticator.is_open):
            return Principal(await user_name(peer.user), Role.ADMIN)
        if access.authenticator.is_open:
            return LOCAL
        if field is None:
            raise Refused(401, "unauthorized", "Send Authorization: Bearer TOKEN.")
        principal = access.authenticator.principal(field)
        if principal is not None:
            return principal
        if wait := access.count_served(peer.limit_key, str(peer), time.monotonic()):
            raise too_many(peer.limit_key, wait)
        raise Refused(401, "unauthorized", "The token is not one of this proxy's.")


def demand(principal: Principal, needed: Role, what: str = "This") -> None:
    """Let a principal go on only if its role reaches that far.

    Args:
        what: it is that takes the role, to begin a sentence with.

    Raises:
        Refused: 403.
    """
    if not principal.may(needed):
        raise Refused(
            403,
            "forbidden",
            f"{what} takes the role {needed.value}; {principal.name} has {principal.role.value}.",
            {"needed": needed.value, "role": principal.role.value},
        )


def too_many(address: str, wait: float) -> Refused:
    """The refusal of a wrong token after too many."""
    return Refused(
        429,
        "too-many-failures",
        f"Too many wrong tokens came from {address}; wait {math.ceil(wait)} s.",
        {"retry_after": math.ceil(wait)},
    )
