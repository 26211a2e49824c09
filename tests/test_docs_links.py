"""Links between pages lead somewhere, pictures are there and small, and the site can be built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
MOST_PICTURE_BYTES = 120_000

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _links(page: Path) -> list[str]:
    text = _FENCE.sub("", page.read_text("utf-8"))
    return [link for link in _LINK.findall(text) if not re.match(r"\w+:", link)]


def _anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings: lower case, no punctuation, hyphens."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading of it where one is named."""
    for link in _links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def test_pictures_are_used_and_small() -> None:
    """A documentation is cloned by everybody. A PNG may stand beside the SVG that is shown."""
    pictures = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in _links(page)
        if link.endswith((".png", ".svg"))
    }
    for picture in (ROOT / "docs" / "images").iterdir():
        assert {picture, picture.with_suffix(".svg")} & pictures, picture
        assert picture.stat().st_size <= MOST_PICTURE_BYTES, picture


@pytest.mark.slow
def test_the_site_is_built_without_a_complaint(tmp_path: Path) -> None:
    """Every page is in the navigation, and nothing is fetched from another address."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text()
    fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:)?//", page)
    assert fetched == []
