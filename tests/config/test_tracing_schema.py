"""The keys of tracing: off by default, refused where what it needs is missing, secrets unshown."""

from __future__ import annotations

from importlib.machinery import ModuleSpec

import pytest

from bgproxy.config import tracing_schema
from bgproxy.config.describe import describe
from bgproxy.domain.tracing import Tracing
from tests.config.files import SERVICE, fault, load

SECRET = "0123456789abcdef"


def tracing(keys: str) -> str:
    """A file with these keys of `proxy.tracing`."""
    return f"proxy: {{tracing: {{{keys}}}}}\n{SERVICE}"


def test_it_is_off_unless_there_is_an_endpoint() -> None:
    """Other keys alone do nothing."""
    assert load(SERVICE).proxy.tracing == Tracing()
    assert not load(tracing("sample: 10%")).proxy.tracing.endpoint


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://c.test/otlp?k=1", "https://c.test/otlp/v1/traces?k=1"),
        ("https://c.test/v1/traces", "https://c.test/v1/traces"),
    ],
)
def test_an_endpoint_is_a_base_or_the_whole_url(endpoint: str, expected: str) -> None:
    """As OTEL_EXPORTER_OTLP_ENDPOINT and its sibling for traces are written."""
    assert load(tracing(f"endpoint: '{endpoint}'")).proxy.tracing.endpoint == expected


def test_keys_are_taken_over_and_secrets_are_never_shown() -> None:
    """Neither by check nor by whoever writes the settings down."""
    settings = load(
        tracing(
            f"endpoint: 'http://c.test/{SECRET}', headers: {{X-Key: '{SECRET}'}}, sample: 5%,"
            " service_name: edge, attributes: {deployment.environment.name: prod}, query: keep"
        )
    )
    assert settings.proxy.tracing == Tracing(
        f"http://c.test/{SECRET}/v1/traces",
        0.05,
        "edge",
        (("X-Key", SECRET),),
        (("deployment.environment.name", "prod"),),
        query=True,
    )
    assert "sent to c.test as edge, 5% of the traces begun here" in describe(settings)
    assert SECRET not in describe(settings) + repr(settings.proxy)


@pytest.mark.parametrize("is_parent_missing", [False, True])
def test_a_missing_extra_is_a_fault_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, is_parent_missing: bool
) -> None:
    """And only where tracing is asked for."""

    def find_nothing(_name: str) -> ModuleSpec | None:
        if is_parent_missing:
            raise ModuleNotFoundError
        return None

    monkeypatch.setattr(tracing_schema, "find_spec", find_nothing)
    assert load(tracing("sample: 10%")).proxy.tracing.endpoint == ""
    found = fault(tracing("endpoint: 'http://127.0.0.1:4318'"))
    assert found.path == "proxy.tracing.endpoint"
    assert found.remedy == "install it: pip install 'bgproxy[otel]'"


def test_a_password_in_the_url_is_refused_without_showing_it() -> None:
    """It would stand wherever the URL does."""
    found = fault(tracing(f"endpoint: 'http://me:{SECRET}@c.test'"))
    assert SECRET not in str(found)
