"""The process of `run-while-active`: watched, started and stopped as `domain.companion` says."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from bgproxy.client import AdminClient, ServiceDocument
from bgproxy.domain.companion import Companion, Do, Policy, Sighting
from bgproxy.domain.model import Color
from bgproxy.errors import BgproxyError

_LOOK_EVERY = 2.0
"""Seconds between looks at the service where no event asks for one."""

_RECONNECT = 1.0
_LONGEST_WAIT = 5.0
_POINTER_EVENTS = frozenset({"switch", "rollback", "auto_rollback", "drained", "finished"})
_ENDS = (signal.SIGTERM, signal.SIGINT)
_FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH)

Say = Callable[[str], None]


class Watcher:
    """Looks at a service, at events and every two seconds; each look goes into an inbox."""

    def __init__(
        self, client: AdminClient, service: str, inbox: queue.SimpleQueue[tuple[str, Any]]
    ) -> None:
        self._client = client
        self._service = service
        self._inbox = inbox
        self._look_now = threading.Event()

    def start(self) -> None:
        """Begin; it ends with the process."""
        for work in (self._look, self._listen):
            threading.Thread(target=work, daemon=True).start()

    def _look(self) -> None:
        while True:
            with contextlib.suppress(BgproxyError):  # the last sighting grows old
                self._inbox.put(("seen", self._client.service(self._service)))
            self._look_now.wait(_LOOK_EVERY)
            self._look_now.clear()

    def _listen(self) -> None:
        last: int | None = None
        while True:
            with contextlib.suppress(BgproxyError):
                for event in self._client.events(last):
                    last = event.id
                    if event.type in _POINTER_EVENTS:
                        self._look_now.set()
            last = None  # what was missed meanwhile is seen by looking
            self._look_now.set()
            time.sleep(_RECONNECT)


class Keeper:
    """Runs a command while an environment is active; `run` returns the exit status.

    Args:
        say: tells people what is going on.
    """

    def __init__(
        self, client: AdminClient, service: str, policy: Policy, argv: Sequence[str], say: Say
    ) -> None:
        self._service = service
        self._color = policy.color
        self._argv = list(argv)
        self._say = say
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._watcher = Watcher(client, service, self._inbox)
        self._companion = Companion(policy)
        self._child: subprocess.Popen[bytes] | None = None
        self._status = 0
        self._has_lost = False

    def run(self) -> int:
        """Follow the environment until told to end.

        Returns:
            That of the child which ended last; 128 and the signal's number where one killed it.

        Raises:
            OSError: the command cannot be run.
        """
        for number in (*_ENDS, *_FORWARDED):
            # A simple queue may be put into while it is being waited on.
            signal.signal(number, lambda number, _: self._inbox.put(("signal", number)))
        self._watcher.start()
        while True:
            action, seconds = self._companion.next(time.monotonic())
            if action is Do.LEAVE:
                return self._status
            self._carry_out(action)
            if action is not Do.WAIT:
                continue
            with contextlib.suppress(queue.Empty):
                self._take(*self._inbox.get(timeout=max(0.0, min(seconds, _LONGEST_WAIT))))
            self._tell_if_lost()

    def _carry_out(self, action: Do) -> None:
        match action:
            case Do.START:
                self._start()
            case Do.TERMINATE:
                self._say(f"stopping {self._argv[0]} of {self._color}")
                self._signal(signal.SIGTERM)
            case Do.KILL:
                self._say(f"killing {self._argv[0]}: it did not end in time")
                self._signal(signal.SIGKILL)

    def _start(self) -> None:
        assert self._child is None
        sighting = self._companion.sighting
        assert sighting is not None
        facts = {
            "BGPROXY_SERVICE": self._service,
            "BGPROXY_ENVIRONMENT": str(self._color),
            "BGPROXY_GENERATION": str(sighting.generation),
            "BGPROXY_RELEASE": sighting.release,
        }
        self._say(
            f"{self._color} is live, generation {sighting.generation}: starting {self._argv[0]}"
        )
        # A group of its own: what the terminal or the service manager sends comes once, by us.
        child = subprocess.Popen(self._argv, env=os.environ | facts, process_group=0)
        self._child = child
        self._companion.started(time.monotonic())
        threading.Thread(target=self._wait_for, args=(child,), daemon=True).start()

    def _wait_for(self, child: subprocess.Popen[bytes]) -> None:
        status = child.wait()
        # What it left behind would run beside its successor.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        self._inbox.put(("ended", status))

    def _signal(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def _take(self, kind: str, what: Any) -> None:
        now = time.monotonic()
        match kind:
            case "seen":
                self._companion.saw(sighting_of(what, self._color), now)
                if self._has_lost:
                    self._has_lost = False
                    self._say("the proxy answers again")
            case "ended":
                self._child = None
                self._status = what if what >= 0 else 128 - what
                self._companion.ended(now)
                self._say(f"{self._argv[0]} ended with status {self._status}")
            case "signal" if what in _ENDS:
                self._companion.leave()
                if what != signal.SIGTERM:
                    self._signal(what)
            case "signal":
                self._signal(what)

    def _tell_if_lost(self) -> None:
        if self._companion.sighting is None or self._has_lost:
            return
        if self._companion.is_lost(time.monotonic()):
            self._has_lost = True
            state = "runs on" if self._child is not None else "is not started"
            self._say(f"the proxy does not answer; {self._argv[0]} {state}")


def sighting_of(service: ServiceDocument, color: Color) -> Sighting:
    """What counts of a SERVICE for a process of that color."""
    environment = service["environments"]["green" if color is Color.GREEN else "blue"]
    drain = service["drain"]
    return Sighting(
        Color(service["active"]),
        service["generation"],
        None if drain is None else Color(drain["environment"]),
        environment["release"] or "",
    )
