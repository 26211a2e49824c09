"""Every command block of the README and the tutorial runs as it is written, on ports of its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.browser.stage import Demo, demo
from tests.docs_commands import BACKGROUND, WORDS, Block, Shell, blocks
from tests.ports import free_ports

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PORTS = ("8080", "8081", "9001", "9002")

pytestmark = pytest.mark.slow

INSTALLATION = re.compile(r"^(python3 -m venv|\.venv/bin/pip install)", re.MULTILINE)
"""What the test's own environment has behind it already."""

MAKE = re.compile(r"^make (\w+)$", re.MULTILINE)


def _shell(folder: Path, replaced: dict[str, str] | None = None) -> Shell:
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True)) | (replaced or {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".venv").symlink_to(sys.prefix)
    return Shell(folder, ports, {"BGPROXY_ADMIN": f"http://127.0.0.1:{ports['8081']}"})


def _runnable(page: Path, heading: str | None = None) -> list[Block]:
    return [
        block
        for block in blocks(page)
        if (heading is None or block.heading == heading)
        and not INSTALLATION.search(block.text)
        and not MAKE.search(block.commands)
    ]


@pytest.mark.timeout(150)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """From two applications to a release that is taken back by itself."""
    said: dict[int, str] = {}
    with _shell(tmp_path) as shell:
        for block in _runnable(ROOT / "docs" / "tutorial.md"):
            said[block.line] = shell.play(block)
    everything = "\n".join(said.values())
    assert re.search(r"^blue v1 .*^green v2 .*^blue v1 ", everything, re.MULTILINE | re.DOTALL)
    assert "exit status 1" in everything
    assert "refused, as it should be" in everything
    assert list(said.values())[-1].splitlines()[-1].startswith("green v2")


@pytest.mark.timeout(120)
def test_the_readme_can_be_tried(tmp_path: Path) -> None:
    """With the demo running, as `make demo` starts it; a release that goes wrong is taken back."""
    with demo() as stage, _shell(tmp_path, _ports_of(stage)) as shell:
        said = [shell.play(block) for block in _runnable(ROOT / "README.md", "Try it")]
    assert "green" in said[0]
    assert "taken back" in said[-1] or "automatic" in said[-1]


def _ports_of(stage: Demo) -> dict[str, str]:
    urls = (stage.traffic, stage.dashboard, stage.green)
    real = [url.rpartition(":")[2] for url in urls]
    return dict(zip(("8080", "8081", "9002"), real, strict=True))


@pytest.mark.timeout(120)
def test_the_readme_can_be_used(tmp_path: Path) -> None:
    """Its configuration and its deployment, with a bake for the impatient."""
    application = BACKGROUND + "\npython -m bgproxy.sample_app --port {} --color {} --release v1"
    with _shell(tmp_path, {"10m": "1s"}) as shell:
        for port, color in (("9001", "blue"), ("9002", "green")):
            shell.play(Block("", 0, "sh", application.format(port, color)))
        said = [shell.play(block) for block in _runnable(ROOT / "README.md", "Use it")]
    assert "green" in said[-1]


def test_every_target_that_is_named_exists() -> None:
    """`make demo` and the others; the README has exactly two for setting up."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for block in blocks(page):
            assert set(MAKE.findall(block.commands)) <= targets, (page, block.line)
    readme = "\n".join(block.commands for block in blocks(ROOT / "README.md"))
    assert MAKE.findall(readme) == ["demo", "test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_says_what_is_in_it(page: Path) -> None:
    """So that output is never taken for commands, nor commands left out as output."""
    for block in blocks(page):
        assert block.word in WORDS, (page, block.line)
