"""The event log: one line for each thing worth knowing, on standard error.

JSON where a program reads it, aligned text on a terminal. Everything of the control plane logs
through structlog with an event name and fields (``service``, ``generation``, …); whatever third
parties log through `logging` comes out in the same form. Requests are never logged here.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

# structlog loads rich wherever it is installed, for tracebacks that we do not want: they show the
# values of local variables. Not loading it is a tenth of a second less to the first answer.
_has_rich = "rich" in sys.modules
if not _has_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if not _has_rich:
    del sys.modules["rich"]

_SECRETS = frozenset({"authorization", "cookie", "password", "secret", "token", "tokens"})
_HIDDEN = "[hidden]"


class _Generations:
    """Adds the generation that a service is in to every line about it.

    What happened with one release is then found by one search, whoever logged it.
    """

    def __init__(self) -> None:
        self.of: Callable[[str], int | None] | None = None

    def __call__(
        self, _logger: object, _method: str, fields: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        service = fields.get("service")
        if self.of is not None and service and "generation" not in fields:
            generation = self.of(service)
            if generation is not None:
                fields["generation"] = generation
        return fields


_generations = _Generations()


def name_generations(of: Callable[[str], int | None] | None) -> None:
    """Have lines about a service say its generation.

    Args:
        of: gives a service's generation by its name, None where there is no such service; None
            ends it.
    """
    _generations.of = of


def configure(stream: TextIO | None = None, *, level: str = "info", form: str = "auto") -> None:
    """Set logging up for this process; call once, before anything logs.

    Args:
        stream: where lines go; standard error if not given.
        level: the least level that is written: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``json``, ``console``, or ``auto``, which is ``console`` on a terminal.
    """
    target = sys.stderr if stream is None else stream
    is_console = form == "console" or (form == "auto" and target.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), *_last(target, is_console)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_last(target, is_console),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(least, logging.INFO), force=True)


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _generations,
        hide_secrets,
    ]


def _last(stream: TextIO, is_console: bool) -> list[structlog.typing.Processor]:
    """What turns the fields into a line.

    Tracebacks come without the values of local variables: a token could be among them.
    """
    if is_console:
        has_colors = stream.isatty() and not os.environ.get("NO_COLOR")
        return [
            structlog.dev.ConsoleRenderer(
                colors=has_colors,
                timestamp_key="at",
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(traceback),
        _order,
        structlog.processors.JSONRenderer(),
    ]


def _order(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Time, level and name first: people read these lines too."""
    first = {key: fields.pop(key) for key in ("at", "level", "event") if key in fields}
    return first | dict(fields)


def hide_secrets(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Blank fields whose name says that they hold a secret, however deep they stand."""
    return {key: _hide(key, value) for key, value in fields.items()}


def _hide(key: str, value: Any) -> Any:
    if key.lower() in _SECRETS:
        return _HIDDEN
    if isinstance(value, dict):
        return {inner: _hide(str(inner), content) for inner, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hide("", item) for item in value]
    return value
