"""The timeline's document as pydantic models: what `GET …/timeline` answers."""

from __future__ import annotations

from pydantic import BaseModel, Field


class TimelineColumns(BaseModel):
    """One environment, one entry for each sample; latencies in seconds, null without requests."""

    requests: list[int]
    failures: list[int]
    in_flight: list[int]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


class TimelineSides(BaseModel):
    """Both environments."""

    blue: TimelineColumns
    green: TimelineColumns


class TimelineDocument(BaseModel):
    """The last minutes of a service as columns."""

    interval: float = Field(description="Seconds between samples.")
    last: int = Field(description="Number of the last sample; ask for more with `after`.")
    at: list[float] = Field(description="Unix time of each sample.")
    environments: TimelineSides
