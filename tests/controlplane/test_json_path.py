"""Dotted paths into JSON."""

from __future__ import annotations

import pytest

from bgproxy.controlplane.json_path import ABSENT, find

DOCUMENT = {"a": {"b": [1, {"c": None}]}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.0", 1),
        ("$.a.b.1.c", None),
        ("0", "zero"),
        ("a.b.2", ABSENT),
        ("a.b.x", ABSENT),
        ("a.b.0.c", ABSENT),
        ("x", ABSENT),
    ],
)
def test_paths(path: str, value: object) -> None:
    """Names lead into objects, numbers into lists, and nothing is not null."""
    assert find(DOCUMENT, path) == value
