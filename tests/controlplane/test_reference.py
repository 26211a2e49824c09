"""The page on the API's documents shows those of the code."""

from __future__ import annotations

from pathlib import Path

from bgproxy.controlplane import reference

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    """`python -m bgproxy.controlplane.reference` writes it."""
    assert (ROOT / reference.PAGE).read_text("utf-8") == reference.page_text()


def test_a_key_is_shown_with_type_meaning_and_default() -> None:
    """In words, not in JSON Schema."""
    page = reference.page_text()
    assert (
        "| `to` | `blue`, `green` or null | The target; the idle environment if left out. |" in page
    )
    assert (
        "| `verify` | `true` or `false` | Run the configured checks first. `true` if left" in page
    )
    assert "| `backends` | list of [BackendDocument](#backenddocument) |" in page
