"""The keys of notifications: who is told about what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bgproxy.config.readers import Choice, Duration, Number, Text, refuse
from bgproxy.config.sections import Many, Section, key
from bgproxy.config.web_readers import HttpUrl, SigningKey
from bgproxy.domain.notifications import MOVES, TOLD, Channel, Notification, Occasion

_DEFAULTS = Notification("", Channel.JSON, "")


class NotificationSection(Section):
    """Somebody who is told what happened."""

    kind: Annotated[Channel, Choice(Channel)] = key(
        ..., "The format: `slack`, `teams`, `discord`, plain `json`, or `grafana` for annotations."
    )
    name: Annotated[str, Text(most=100)] = key(
        "", "A name for reports, logs and metrics; the kind where it is not given."
    )
    url: Annotated[str, HttpUrl()] = key(
        ...,
        "The webhook's URL, best as `${NAME}`: it is a secret. For `grafana` Grafana's own.",
    )
    token: Annotated[str, SigningKey()] = key(
        "", "Sent as a bearer token, best as `${NAME}`: a service account's for `grafana`."
    )
    events: Annotated[tuple[Occasion, ...], Many(Choice(TOLD))] = key(
        (),
        "What it is told about; everything if empty, for `grafana` only moves of the pointer.",
    )
    services: Annotated[tuple[str, ...], Many(Text(least=1, most=100))] = key(
        (), "Of which services; of all if empty."
    )
    timeout: Annotated[float, Duration(least=0.01, most=60)] = key(
        _DEFAULTS.timeout, "For one attempt."
    )
    attempts: Annotated[int, Number(least=1, most=10)] = key(
        _DEFAULTS.attempts,
        "How often a message is sent at most; only no answer, 429 and 5xx are tried again.",
    )

    @model_validator(mode="after")
    def _has_its_token(self) -> NotificationSection:
        if self.kind is Channel.GRAFANA and not self.token:
            refuse("Grafana takes annotations only with a token", "write token: ${NAME}")
        return self

    def build(self) -> Notification:
        """The domain's value."""
        usual = MOVES if self.kind is Channel.GRAFANA else TOLD
        return Notification(
            name=self.name or str(self.kind),
            channel=self.kind,
            url=self.url,
            token=self.token,
            occasions=self.events or usual,
            services=self.services,
            timeout=self.timeout,
            attempts=self.attempts,
        )


Notifications = Annotated[tuple[NotificationSection, ...], Field(max_length=20)]


def build_notifications(
    sections: tuple[NotificationSection, ...], services: frozenset[str]
) -> tuple[Notification, ...]:
    """The domain's values, once their names differ and their services are there."""
    built: list[Notification] = []
    for number, section in enumerate(sections):
        notification = section.build()
        if notification.name in [other.name for other in built]:
            refuse(
                f"two notifications are named {notification.name!r}",
                "give each a name of its own",
                key=f"notifications.{number}.name",
            )
        for name in notification.services:
            if name not in services:
                refuse(
                    f"there is no service {name!r}",
                    f"write one of {', '.join(sorted(services))}",
                    key=f"notifications.{number}.services",
                )
        built.append(notification)
    return tuple(built)
