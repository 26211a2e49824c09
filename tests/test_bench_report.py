"""Pages and pictures show what the measurements found, and nothing older."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plots, results
from benchmarks.comparison import Comparison
from benchmarks.report import pages, renewed, sections
from benchmarks.tables import shown, table, with_section


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_pages_show_the_results(page: Path):
    """Each table is what the figures make of it; `python -m benchmarks.report` renews them."""
    text = page.read_text()
    assert renewed(text, sections()) == text


def test_the_readme_shows_the_comparison():
    """The place for it is there, and not empty."""
    text = (pages()[0]).read_text()
    assert "<!-- compare: some -->\n| CPU time per request" in text
    assert 'srcset="benchmarks/results/compare-dark.svg"' in text


def _pictures() -> list[tuple[str, str]]:
    found = Comparison.read(results.FOLDER / "compare.json")
    expected = [("compare", plots.digest(plots.comparison_figures(found)))]
    if (results.FOLDER / "growth.json").exists():
        expected.append(("growth", plots.digest(plots.growth_figures(results.load("growth")))))
    return expected


@pytest.mark.parametrize(("name", "digest"), _pictures())
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures_show_the_results(name: str, digest: str, theme: str, kind: str):
    """Each carries the digest of the figures that it was drawn from."""
    assert digest.encode() in (results.FOLDER / f"{name}-{theme}.{kind}").read_bytes()


def test_pictures_are_drawn_in_both_themes(tmp_path: Path):
    """From what a file holds, and with the colors of the theme."""
    growth = {
        "points": [
            {"what": what, "count": count, "cpu_us": 20.0 + count}
            for what in ("services", "fields")
            for count in (1, 10)
        ],
        "memory_mib": {"0": 60.0, "1000": 62.0},
    }
    plots.draw_growth(growth, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    for theme, colors in plots.THEMES.items():
        assert colors["ours"] in (tmp_path / f"growth-{theme}.svg").read_text()


def test_a_section_is_replaced_and_what_is_around_it_stays():
    """Between its two marks, and only there; a page without them is refused."""
    page = "a\n<!-- it -->\nold\n<!-- end of it -->\nb\n"
    assert with_section(page, "it", "new\\1") == page.replace("old", "new\\1")
    with pytest.raises(ValueError, match="'other'"):
        with_section(page, "other", "new")


def test_tables_show_three_digits_and_what_is_not_known():
    """No more digits than a measurement has."""
    assert [shown(value) for value in (1234.5, 99.44, 9.876, None)] == [
        "1,234",
        "99.4",
        "9.88",
        "-",
    ]
    assert table(["b"], {"a": ["1"]}, "c") == "| c | b |\n|---|---:|\n| a | 1 |"
