"""What stands before every handler of the admin API, outermost first.

1. `answer_problems`: whatever a handler raises becomes a problem document.
2. `check_host`: only names of this listener are served (against DNS rebinding).
3. `check_site`: a page of another site cannot change anything (against cross-site requests).
4. `TokenCheck`: who asks, and whether the route's role allows it.

The last one knows the route's role from the table in `api`; a test names every route that asks for
no token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bgproxy.config.settings import Role
from bgproxy.controlplane.auth import LOCAL, Authenticator, FailureLimit, Principal
from bgproxy.controlplane.problems import problem_response
from bgproxy.errors import Refused, StateError

PRINCIPAL = web.RequestKey("principal", Principal)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

DELAY = 1.0
"""Seconds after which a wrong token is answered once an address had too many."""

_MOST_WAITING = 64
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
    for name, value in _HEADERS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals, aiohttp's own errors and mistakes of ours into problem documents."""
    try:
        return await handler(request)
    except Refused as refusal:
        return problem_response(refusal, _extra_headers(refusal))
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


def _extra_headers(refusal: Refused) -> dict[str, str]:
    if refusal.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="bgproxy"'}
    if refusal.status in (429, 503):
        return {"Retry-After": str(math.ceil(float(refusal.facts.get("retry_after", 1))))}
    return {}


def check_host(allowed: Iterable[str]) -> Middleware:
    """Serve only loopback names, the address a connection came to, and `allowed` names.

    A page that resolves its own name to this listener (DNS rebinding) sends that name as Host.
    """
    names = _LOOPBACK_NAMES | {name.lower().rstrip(".") for name in allowed}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _host_name(request.host)
        if host not in names and not _is_own_address(host, request):
            raise Refused(
                421,
                "host-not-allowed",
                f"{request.host!r} is not a name of this listener; add it to admin.allowed_hosts.",
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
        foreign = origin is not None and urlsplit(origin).netloc != request.host
        if site not in ("none", "same-origin") or foreign:
            raise Refused(
                403, "cross-site", "Changes are taken from this listener's own page only."
            )
    return await handler(request)


class TokenCheck:
    """Finds out who asks and holds that against the role that the route's handler needs.

    Wrong tokens are counted by address. An address that had too many is turned away unheard, but
    never a loopback one: there all users of the machine share it, and a rollback must get through.
    Its wrong tokens are answered late instead, so that a flood of them costs little.

    Args:
        authenticator: knows the tokens.
        limit: counts the wrong ones.
        roles: what each handler needs; handlers that are not in it are open to all.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limit: FailureLimit,
        roles: Mapping[Handler, Role | None],
    ) -> None:
        self._authenticator = authenticator
        self._limit = limit
        self._roles = roles
        self._waiting = 0

    def middleware(self) -> Middleware:
        """The check as aiohttp takes it."""

        @web.middleware
        async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
            needed = self._roles.get(request.match_info.handler)
            if needed is not None:
                request[PRINCIPAL] = await self._authorize(request, needed)
            return await handler(request)

        return check_token

    async def _authorize(self, request: web.Request, needed: Role) -> Principal:
        if self._authenticator.is_open or _is_unix(request):
            return LOCAL
        principal = await self._authenticate(request)
        if not principal.may(needed):
            raise Refused(
                403,
                "forbidden",
                f"This takes the role {needed.value}; {principal.name} has {principal.role.value}.",
                {"needed": needed.value, "role": principal.role.value},
            )
        return principal

    async def _authenticate(self, request: web.Request) -> Principal:
        address = request.remote or ""
        now = time.monotonic()
        wait = self._limit.retry_after(address, now)
        if wait and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise _too_many(address, wait)
        field = request.headers.get("Authorization")
        if field is None:
            raise Refused(401, "unauthorized", "Send Authorization: Bearer TOKEN.")
        principal = self._authenticator.principal(field)
        if principal is not None:
            return principal
        if self._limit.count(address, now):
            _log.warning("admin_tokens_refused", address=address)
        if wait:
            await self._delay()
            raise _too_many(address, wait)
        raise Refused(401, "unauthorized", "The token is not one of this proxy's.")

    async def _delay(self) -> None:
        """Let a guesser wait, but never so many that they hold all connections."""
        if self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        try:
            await asyncio.sleep(DELAY)
        finally:
            self._waiting -= 1


def _too_many(address: str, wait: float) -> Refused:
    return Refused(
        429,
        "too-many-failures",
        f"Too many wrong tokens came from {address}; wait {math.ceil(wait)} s.",
        {"retry_after": math.ceil(wait)},
    )


def _is_unix(request: web.Request) -> bool:
    return isinstance(request.get_extra_info("sockname"), str)
