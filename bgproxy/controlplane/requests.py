"""Reading what a client of the admin API sent: bodies, numbers, preconditions."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bgproxy.controlplane.schemas import Request
from bgproxy.domain.model import Color
from bgproxy.errors import Refused

MAX_BODY_BYTES = 64 * 1024

BODY_TIMEOUT = 10.0
"""Seconds in which a request's body must have arrived."""

MAX_KEY_LENGTH = 200

_ETAG = re.compile(r'(W/)?"[!#-~]*"')

Body = TypeVar("Body", bound=Request)


async def read_body(request: web.Request, model: type[Body]) -> Body:
    """The request's body as `model`; an empty one is ``{}``.

    Raises:
        Refused: 400 for what is not JSON, 408 when it does not arrive, 413 when it is too large,
            415 for another content type, 422 for what does not fit, naming every fault.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            raw = await request.read()
    except TimeoutError:
        detail = f"The body was not there after {BODY_TIMEOUT:g} s."
        raise Refused(408, "body-too-slow", detail) from None
    if raw and request.content_type != "application/json":
        detail = f"Send the body as application/json, not {request.content_type}."
        raise Refused(415, "unsupported-media-type", detail)
    try:
        return model.model_validate(_parse(raw) if raw else {})
    except ValidationError as error:
        faults = [
            {"path": ".".join(map(str, fault["loc"])), "problem": _words(fault, model)}
            for fault in error.errors(include_url=False, include_context=False)
        ]
        named = "; ".join(f"{fault['path'] or 'body'}: {fault['problem']}" for fault in faults)
        raise Refused(422, "invalid", named, {"errors": faults}) from None


def _words(fault: ErrorDetails, model: type[Request]) -> str:
    """What is wrong, to be read after the key; in words that do not presume pydantic."""
    match fault["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(fault["loc"][-1]), model.model_fields, n=1)
            return "is not a known key" + (f" (did you mean {close[0]}?)" if close else "")
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a JSON object"
    problem = fault["msg"].removeprefix("Value error, ")
    return re.sub("^Input should ", "must ", problem)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "malformed-json", f"The body is not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without doubled keys: two readers could take different ones (RFC 8259, 4)."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands there twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_color(text: str) -> Color:
    """An environment named in a path.

    Raises:
        Refused: 404 unless it is blue or green.
    """
    try:
        return Color(text)
    except ValueError:
        detail = f"{text!r} is not an environment; there are blue and green."
        raise Refused(404, "unknown-environment", detail) from None


def read_number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number from the query.

    Raises:
        Refused: 422 for anything else or outside of the bounds.
    """
    text = request.query.get(name, str(default))
    if text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise Refused(422, "invalid", f"{name} must be a whole number from {least} to {most}.")


def read_if_match(request: web.Request) -> int | None:
    """The generation that ``If-Match`` names (RFC 9110 section 13.1.1), None for none or ``*``.

    Raises:
        Refused: 412 for an ETag that no generation has; 422 for what is no ETag, or several.
    """
    field = request.headers.get("If-Match")
    if field is None or field == "*":
        return None
    if not _ETAG.fullmatch(field):
        detail = f'If-Match takes * or the ETag of one service, such as "7", not {field!r}.'
        raise Refused(422, "invalid", detail)
    number = field[1:-1]
    if not (field.startswith('"') and number.isdecimal() and len(number) < 18):
        raise Refused(412, "generation-mismatch", f"No generation has the ETag {field}.")
    return int(number)


def read_idempotency_key(request: web.Request) -> str | None:
    """The ``Idempotency-Key``, None for none.

    Raises:
        Refused: 422 for an empty or a long one.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= MAX_KEY_LENGTH:
        detail = f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} characters."
        raise Refused(422, "invalid", detail)
    return key
