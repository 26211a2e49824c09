"""Following a deployment from the command line: ask for it, show it, end when it is there.

The change runs in the proxy, not here: a lost connection or Ctrl-C ends the watching only, and the
command says in which state it leaves the deployment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO, cast

from bgproxy.client import AdminClient, DeploymentDocument, ServiceDocument, UnreachableError
from bgproxy.commands import text
from bgproxy.errors import BgproxyError

POLL = 0.2
"""Seconds between two looks at what is under way."""

_LINE_EVERY = 10.0
"""Seconds after which a line is written again where lines cannot be overwritten (pipes, CI)."""

_PATIENCE = 30.0
"""Seconds for which the admin API may be away, as during a restart, before the watching ends."""


class Progress:
    """One line of progress on standard error, overwritten on a terminal.

    Args:
        stream: where to write.
        clock: monotonic seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._stage = ""
        self._written = 0.0

    def show(self, stage: str, detail: str = "") -> None:
        """Say what is going on: `stage` is a new line when it changes, `detail` is its news."""
        line = f"{stage} {detail}".rstrip()
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[2K{line[: max(width - 1, 20)]}")
            self._stream.flush()
        elif stage != self._stage or self._clock() - self._written >= _LINE_EVERY:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._written = self._clock()
        self._stage = stage

    def note(self, line: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._stream.write(line + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leave the line free for what comes next."""
        if self._is_terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
        self._stage = ""


def run_showing(
    change: Callable[[], DeploymentDocument],
    client: AdminClient,
    name: str,
    target: str,
    progress: Progress,
) -> DeploymentDocument:
    """Carry `change` out in a thread and show, meanwhile, what it waits for.

    Raises:
        ProblemError, UnreachableError: what the change raised.
        KeyboardInterrupt: by Ctrl-C; the change goes on in the proxy.
    """
    answers: list[DeploymentDocument] = []
    errors: list[BgproxyError] = []

    def work() -> None:
        try:
            answers.append(change())
        except BgproxyError as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(POLL)
    while thread.is_alive():
        with contextlib.suppress(BgproxyError):
            progress.show(*_before_the_store(client.service(name), target))
        thread.join(POLL)
    progress.clear()
    if errors:
        raise errors[0]
    return answers[0]


def _before_the_store(service: ServiceDocument, target: str) -> tuple[str, str]:
    under_way: Any = cast(Mapping[str, Any], service).get("deployment")
    if under_way and under_way.get("held"):
        return f"{text.held_news(under_way, under_way['held'])};", "bgproxy approve, or reject"
    backends = service["environments"]["green" if target == "green" else "blue"]["backends"]
    healthy = sum(backend["healthy"] for backend in backends)
    if healthy < len(backends):
        return f"waiting for {target}'s backends:", f"{healthy} of {len(backends)} healthy"
    return f"verifying {target}", ""


def follow(
    client: AdminClient, deployment: DeploymentDocument, wait: str, progress: Progress
) -> DeploymentDocument:
    """Watch a deployment until it is drained or finished, or has come to another end.

    Raises:
        UnreachableError: when the admin API stays away.
    """
    name, id = deployment["service"], deployment["id"]
    for deployment in _looks(client, name, id):
        is_there = deployment["drained_at"] if wait == "drained" else deployment["finished_at"]
        if is_there or deployment["outcome"] is not None:
            break
        with contextlib.suppress(BgproxyError):
            _show_stage(client.service(name), progress)
        time.sleep(POLL)
    progress.clear()
    return deployment


def _looks(client: AdminClient, name: str, id: int | str) -> Iterator[DeploymentDocument]:
    """The deployment again and again, over short absences of the admin API."""
    last_seen = time.monotonic()
    while True:
        try:
            deployment = client.deployment(name, id)
        except UnreachableError:
            if time.monotonic() - last_seen > _PATIENCE:
                raise
            time.sleep(POLL)
            continue
        last_seen = time.monotonic()
        yield deployment


def _show_stage(service: ServiceDocument, progress: Progress) -> None:
    """Show the drain while there is one, the bake after that."""
    news = None
    if service["drain"] is not None:
        news = text.drain_news(service["drain"])
    elif service["bake"] is not None:
        news = text.bake_news(service["bake"])
    if news is not None:
        stage, _, detail = news.partition(": ")
        progress.show(f"{stage}:", detail)


def left_behind(client: AdminClient, name: str) -> str:
    """What Ctrl-C leaves: one sentence on the state of the service."""
    try:
        service = client.service(name)
    except BgproxyError:
        return "the admin API does not answer; the proxy carries on with what it was told."
    color = service["active"]
    return (
        f"{name} is {service['phase']}: {color} is live, generation {service['generation']}. "
        "What was asked for goes on in the proxy; `bgproxy status` shows it, "
        "`bgproxy rollback` takes it back."
    )
