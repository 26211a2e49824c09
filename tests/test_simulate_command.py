"""`bgproxy simulate`: the rule over a trace or invented traffic, told to people and programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bgproxy.cli import main
from tests.config.files import ENVIRONMENTS, SERVICE


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


def answer(*arguments: str) -> dict[str, Any]:
    """The document."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """A minute of 20 requests a second; from second 21 on a tenth of them fails."""
    path = tmp_path / "trace.csv"
    rows = [f"{second},20,0" for second in range(1, 21)]
    rows += [f"{second},18,2" for second in range(21, 61)]
    path.write_text("\n".join(["second,successes,failures", *rows]))
    return str(path)


def test_a_trace_is_judged(trace: str) -> None:
    """When, why, and against what."""
    result = run(trace)
    assert result.exit_code == 0
    rule, counts, verdict = result.stdout.splitlines()
    assert rule == "rule sequential: usual 0.1 %, harm from 2.1 % on, evidence grows above 0.66 %"
    assert counts == "1,200 requests in 60 s, 80 failed"
    assert verdict.startswith("rolled back after 25 s: 10 failures, usual are 0.1 %")


def test_the_configured_rule_is_the_one_that_judges(trace: str, tmp_path: Path) -> None:
    """Of the service that is named."""
    config = tmp_path / "bgproxy.yaml"
    other = f"  other:\n    hosts: [other]\n{ENVIRONMENTS}"
    rule = "    rollback: {rule: threshold, max_error_rate: 50%}\n"
    config.write_text(f"{SERVICE}{other}{rule}")
    assert answer(trace, "-c", str(config))["outcome"] == "rolled_back"
    found = answer(trace, "-c", str(config), "--service", "other")
    assert (found["rule"], found["outcome"]) == ("threshold", "passed")
    wrong = run(trace, "-c", str(config), "--service", "third")
    assert wrong.exit_code == 2
    assert "one of: default, other" in wrong.output


def test_a_release_is_held_against_the_old_trace(trace: str) -> None:
    """What failed before just as often is no harm."""
    found = answer(trace, "--baseline", trace)
    assert found["usual"] > 0.06
    assert found["outcome"] == "inconclusive"  # what clumps so needs more than a minute to tell
    assert answer(trace, "--usual", "10%")["outcome"] == "passed"


def test_invented_traffic_is_the_same_for_the_same_dice() -> None:
    """And is summed up."""
    arguments = ("--rate", "20", "--failing", "20%", "--runs", "5")
    found = answer(*arguments)
    assert (found["runs"], found["rolled_back"]) == (5, 5)
    assert 7 <= found["median_seconds"] <= found["p95_seconds"] <= 20
    assert found == answer(*arguments)
    assert "rolled back 5: after" in run(*arguments).stdout
    healthy = run("--failing", "0.1%", "--runs", "3").stdout.splitlines()
    assert healthy[2:] == ["rolled back 0", "passed 3, inconclusive 0"]


def test_the_evidence_can_be_drawn(trace: str, tmp_path: Path) -> None:
    """As an SVG with a point for each second."""
    picture = tmp_path / "evidence.svg"
    found = answer(trace, "--svg", str(picture))
    root = ET.parse(picture).getroot()
    (curve,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(curve.attrib["points"].split()) == len(found["evidence"]) + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--usual", "500%"), "between 0% and 100%"),
        (("--failing", "5"), "5"),
        (("no.csv",), "no.csv"),
    ],
)
def test_wrong_usage_is_said(arguments: tuple[str, ...], said: str) -> None:
    """With the status for it."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_wrong_trace_is_named_with_its_line(tmp_path: Path) -> None:
    """So that whoever made it finds the place."""
    path = tmp_path / "trace.csv"
    path.write_text("1,2,3\n1,2,3\n")
    result = run(str(path))
    assert result.exit_code == 2
    assert f"{path}: line 2" in result.output
