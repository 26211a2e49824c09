"""The keys of verification: warm-up, requests and what their answers must be, further calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bgproxy.config.call_schema import CallSection, build_calls
from bgproxy.config.readers import Duration, Number, Text, refuse
from bgproxy.config.sections import AnyValue, Many, Pairs, Section, key
from bgproxy.config.web_readers import FieldName, FieldValue, Method, Pattern, StatusRange, Target
from bgproxy.domain.model import Expectation, HttpCheck, VerifyPolicy, WarmUp

_CHECK = HttpCheck("")
_WARM_UP = WarmUp()
_VERIFY = VerifyPolicy()

Codes = Many(StatusRange(), takes_one=True, least=1)
Headers = Pairs(FieldName(), FieldValue())


class ExpectSection(Section):
    """What a check's answer must be; parts that are not given are not asked for."""

    status: Annotated[tuple[tuple[int, int], ...], Codes] = key(
        _CHECK.expect.status, 'Accepted status codes: `200`, `"200-399"`, or a list of such.'
    )
    headers: Annotated[tuple[tuple[str, str], ...], Pairs(FieldName(is_sent=False), Pattern())] = (
        key(_CHECK.expect.headers, "Regular expressions by the header field that must match them.")
    )
    body: Annotated[str, Text(most=65536, is_multiline=True)] = key(
        _CHECK.expect.body, "Text that must occur in the body."
    )
    body_regex: Annotated[str, Pattern()] = key(
        _CHECK.expect.body_regex, "Regular expression that must match somewhere in the body."
    )
    json_values: Annotated[tuple[tuple[str, object], ...], Pairs(Text(least=1), AnyValue())] = key(
        _CHECK.expect.json,
        "Values by their dotted path in a JSON body, such as `status.db: up`.",
        name="json",
    )
    max_latency: Annotated[float, Duration()] = key(
        _CHECK.expect.max_latency, "Until the whole answer must be there; `0s` means any time."
    )

    def build(self) -> Expectation:
        """The domain's value."""
        values = self.values()
        return Expectation(json=values.pop("json_values"), **values)


class CheckSection(Section):
    """One request that every backend of the environment must answer as expected."""

    name: Annotated[str, Text(most=100)] = key(
        _CHECK.name, "A name for reports; method and path where it is not given."
    )
    path: Annotated[str, Target()] = key(_CHECK.path, "What is asked for.")
    method: Annotated[str, Method()] = key(_CHECK.method, "The request's method.")
    headers: Annotated[tuple[tuple[str, str], ...], Headers] = key(
        _CHECK.headers, "Further header fields."
    )
    body: Annotated[str, Text(most=65536, is_multiline=True)] = key(
        _CHECK.body, "The request's body."
    )
    expect: ExpectSection = Field(
        default_factory=ExpectSection, description="What the answer must be."
    )
    repeats: Annotated[int, Number(least=1, most=1000)] = key(
        _CHECK.repeats, "How often it is sent to each backend."
    )
    allowed_failures: Annotated[int, Number(most=999)] = key(
        _CHECK.allowed_failures, "How many of these may fail."
    )
    timeout: Annotated[float, Duration(least=0.01, most=600)] = key(
        _CHECK.timeout, "Until one answer must be there."
    )

    @model_validator(mode="after")
    def _can_fail_and_pass(self) -> CheckSection:
        if self.allowed_failures >= self.repeats:
            refuse(
                f"as many failures are allowed as there are repeats ({self.repeats}): "
                "the check would pass whatever is answered",
                f"write at most {self.repeats - 1}, or raise repeats",
                key="allowed_failures",
            )
        if self.expect.max_latency > self.timeout:
            refuse(
                "the check gives up before that",
                "raise the check's timeout, or lower this",
                key="expect.max_latency",
            )
        return self

    def build(self) -> HttpCheck:
        """The domain's value."""
        values = self.values() | {"expect": self.expect.build()}
        values["name"] = self.name or f"{self.method} {self.path}"
        return HttpCheck(**values)


class WarmUpSection(Section):
    """Requests that every backend gets before its checks; how they are answered is ignored."""

    path: Annotated[str, Target()] = key(_WARM_UP.path, "What is asked for, with GET.")
    requests: Annotated[int, Number(most=100_000)] = key(
        _WARM_UP.requests, "How many each backend gets, one after the other; `0` for none."
    )
    seconds: Annotated[float, Duration(least=0.01, most=3600)] = key(
        _WARM_UP.seconds, "After it the warm-up is over, however many were sent.", name="timeout"
    )

    def build(self) -> WarmUp:
        """The domain's value."""
        return WarmUp(**self.values())


class VerifySection(Section):
    """What is checked before a switch and by `bgproxy verify`."""

    warm_up: WarmUpSection = Field(
        default_factory=WarmUpSection, description="Requests before the checks."
    )
    checks: tuple[CheckSection, ...] = key(
        _VERIFY.checks, "The requests; all of their failures are reported."
    )
    calls: tuple[CallSection, ...] = key(
        _VERIFY.calls,
        "Commands and webhooks that are asked once, after the requests; each must say yes.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> VerifySection:
        names = [check.build().name for check in self.checks]
        for number, name in enumerate(names):
            if name in names[:number]:
                first = names.index(name)
                refuse(
                    f"two checks are named {name!r}, this one and number {first + 1}",
                    "give each a name of its own",
                    key=f"checks.{number}.name",
                )
        build_calls(self.calls, "calls")
        return self

    def build(self) -> VerifyPolicy:
        """The domain's value."""
        return VerifyPolicy(
            tuple(check.build() for check in self.checks),
            build_calls(self.calls, "calls"),
            self.warm_up.build(),
        )
