"""The keys of calls to the outside: commands and webhooks, in verification and as hooks."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import model_validator

from bgproxy.config.readers import Duration, Number, Text, refuse
from bgproxy.config.sections import Many, Section, key
from bgproxy.config.web_readers import HttpUrl, SigningKey
from bgproxy.domain.hooks import Call, CommandCall, Hooks, WebhookCall

_HOOKS = Hooks()
_WEBHOOK = WebhookCall("", "")


class CallSection(Section):
    """A command or a webhook; what they are told is the same."""

    name: Annotated[str, Text(most=100)] = key(
        "", "A name for reports; the program's or the host's where it is not given."
    )
    command: Annotated[tuple[str, ...], Many(Text(most=4000, is_multiline=True))] = key(
        (), "The program and its arguments, run without a shell; exit status 0 is a yes."
    )
    webhook: Annotated[str, HttpUrl(is_optional=True)] = key(
        _WEBHOOK.url, "The URL that is sent a POST; an answer of 2xx is a yes."
    )
    secret: Annotated[str, SigningKey()] = key(
        _WEBHOOK.secret, "Webhook: what signs it, best as `${NAME}`; empty for no signature."
    )
    timeout: Annotated[float, Duration(least=0.01, most=3600)] = key(
        _WEBHOOK.timeout,
        "Until a command is killed with all it started; of a webhook, until one attempt is over.",
    )
    attempts: Annotated[int, Number(least=1, most=10)] = key(
        _WEBHOOK.attempts,
        "Webhook: how often it is sent at most; only no answer, 429 and 5xx are tried again.",
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> CallSection:
        if bool(self.command) is bool(self.webhook):
            refuse(
                "a call is either a command or a webhook",
                "write one of the two keys",
                key="webhook" if self.webhook else "",
            )
        if self.command and not self.command[0]:
            refuse("the program has no name", "write its path first", key="command.0")
        for name, is_given in (
            ("secret", bool(self.secret)),
            ("attempts", "attempts" in self.model_fields_set),
        ):
            if self.command and is_given:
                refuse(f"a command has no {name}", "remove it, or call a webhook", key=name)
        return self

    def build(self) -> Call:
        """The domain's value."""
        if self.command:
            name = self.name or PurePath(self.command[0]).name
            return CommandCall(name, self.command, self.timeout)
        name = self.name or urlsplit(self.webhook).netloc
        return WebhookCall(name, self.webhook, self.secret, self.timeout, self.attempts)


def build_calls(sections: tuple[CallSection, ...], place: str) -> tuple[Call, ...]:
    """The domain's values, once their names differ: a receiver knows a repeated call by its name.

    Args:
        place: the key whose list it is.
    """
    calls = tuple(section.build() for section in sections)
    names = [call.name for call in calls]
    for number, name in enumerate(names):
        if name in names[:number]:
            refuse(
                f"two calls are named {name!r}, this one and number {names.index(name) + 1}",
                "give each a name of its own",
                key=f"{place}.{number}.name",
            )
    return calls


class HooksSection(Section):
    """What is called around a deployment."""

    before_switch: tuple[CallSection, ...] = key(
        _HOOKS.before_switch,
        "After the checks and before the pointer moves; one that says no refuses the switch.",
    )
    after_switch: tuple[CallSection, ...] = key(
        _HOOKS.after_switch, "Once traffic goes to the new environment."
    )
    after_rollback: tuple[CallSection, ...] = key(
        _HOOKS.after_rollback, "Once a release was taken back, by hand or by itself."
    )
    after_bake: tuple[CallSection, ...] = key(
        _HOOKS.after_bake, "Once the bake has ended without a rollback."
    )
    on_drained: tuple[CallSection, ...] = key(
        _HOOKS.on_drained, "Once nothing is left on the environment that was switched away from."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> HooksSection:
        self.build()
        return self

    def build(self) -> Hooks:
        """The domain's value."""
        return Hooks(**{name: build_calls(calls, name) for name, calls in self.values().items()})
