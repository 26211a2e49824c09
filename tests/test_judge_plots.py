"""The pictures of the judge show what the rule and the committed study say."""

from __future__ import annotations

import re

from benchmarks import judge_plots, state_drawing
from benchmarks.plots import digest
from bgproxy.domain.deployment import TABLE


def test_the_drawing_is_that_of_the_table() -> None:
    """Every entry is an arrow, every arrow an entry, and the committed file is what is drawn."""
    drawing = state_drawing.drawing()
    arrows = re.findall(r'data-from="(\w+)" data-to="(\w+)" data-on="([\w ]+)"', drawing)
    drawn = {(source, event, target) for source, target, on in arrows for event in on.split()}
    assert drawn == {
        (str(phase), str(event), str(step.phase)) for (phase, event), step in TABLE.items()
    }
    assert state_drawing.FILE.read_text("utf-8") == drawing


def test_pictures_are_those_of_the_present_rule_and_study() -> None:
    """`make plots` draws them anew."""
    for name, shown in (
        ("judge-evidence", judge_plots.evidence_figures()),
        ("judge-delays", judge_plots.delay_figures()),
    ):
        for kind in ("svg", "png"):
            content = (judge_plots.FOLDER / f"{name}.{kind}").read_bytes()
            assert digest(shown).encode() in content


def test_the_example_shows_a_release_taken_back_and_one_that_is_not() -> None:
    """As the documentation says of it."""
    healthy, bad = judge_plots.evidence_figures().values()
    assert max(healthy) < 3
    assert len(healthy) == 120
    assert bad[-1] >= 20
    assert judge_plots.draw_evidence({"healthy": healthy, "bad": bad}).axes
    assert judge_plots.draw_delays(judge_plots.delay_figures()).axes
