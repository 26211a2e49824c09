"""What a connection of the admin listener talks to: aiohttp's handler, with our answers."""

from __future__ import annotations

import logging
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bgproxy.controlplane.guards import add_headers_to
from bgproxy.controlplane.problems import problem_response
from bgproxy.errors import Refused


class WireHandler(web.RequestHandler):
    """Answers what is not HTTP with a problem document, as every other fault is answered."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer, after which the connection is closed.

        Raises:
            ConnectionError: when part of another answer was sent before.
        """
        super().handle_error(request, status, exc, message)  # logs, and looks what was sent
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            # Lines behind the first one repeat what was sent.
            detail = (message or "It could not be read.").partition("\n")[0].rstrip(": ")
            response = problem_response(Refused(status, "malformed-request", detail))
        else:
            response = problem_response(Refused(status, "internal", "The log says more."))
        add_headers_to(response)
        response.force_close()
        return response


def wire_log() -> logging.Logger:
    """Where aiohttp logs, without the garbage that anybody may send to a port.

    It logs a request that is not HTTP as an error, with nothing that would help; a flood of those
    must not fill the log.
    """
    logger = logging.getLogger("bgproxy.admin.wire")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    is_garbage = error is None or isinstance(error, HttpProcessingError)
    return not (is_garbage and str(record.msg).startswith("Error handling request"))
