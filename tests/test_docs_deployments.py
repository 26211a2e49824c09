"""The page on deployments shows the tables of the code and the figures it has."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path

from benchmarks.simulate import RESULTS, Cell, harm_table
from bgproxy.controlplane.calls import _ENVIRONMENT
from bgproxy.domain.baseline import break_even, harm_share
from bgproxy.domain.deployment import render_table
from bgproxy.domain.hooks import Moment, sign
from bgproxy.domain.model import RollbackPolicy

PAGE = (Path(__file__).parent.parent / "docs" / "deployments.md").read_text("utf-8")


def block(name: str) -> list[str]:
    """The lines between two markers."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found
    return found[1].splitlines()


def test_the_state_table_is_the_one_that_runs() -> None:
    """As `render_table` prints it."""
    assert block("table")[1:-1] == render_table().splitlines()


def test_harm_levels_are_those_of_the_rule() -> None:
    """Usual, harm and break-even, row by row."""
    policy = RollbackPolicy()
    for row in block("shares")[2:]:
        usual = float(row.split("|")[1].strip(" %")) / 100
        harm = harm_share(usual, policy)
        assert row == f"| {usual:.1%} | {harm:.1%} | {break_even(usual, harm):.2%} |"


def test_delays_are_those_of_the_study() -> None:
    """As its committed results have them."""
    harm = json.loads((RESULTS / "simulate.json").read_text())["harm"]
    assert block("delays") == harm_table([Cell(**cell) for cell in harm]).splitlines()


def test_every_hook_and_variable_is_documented() -> None:
    """By its name."""
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [str(moment) for moment in Moment]
    for name in _ENVIRONMENT:
        assert f"`BGPROXY_{name.upper()}`" in PAGE


def test_the_example_knows_a_signature_of_ours() -> None:
    """And no other, and not for ever."""
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code
    names = {"hashlib": hashlib, "hmac": hmac}
    exec(code[1], names)
    is_ours = names["is_ours"]
    signature = sign("secret", 1000, b"body")
    assert is_ours(b"secret", signature, b"body", 1100.0)  # type: ignore[operator]
    assert not is_ours(b"secret", signature, b"other", 1100.0)  # type: ignore[operator]
    assert not is_ours(b"secret", signature, b"body", 2000.0)  # type: ignore[operator]
