"""The documentation's pictures of the dashboard: `python -m tests.browser.pictures [FOLDER]`.

Plays one release that goes wrong, with a demo and some visitors, and takes a picture in each state.
It takes about two minutes, because a chart with nothing on it explains nothing.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.stage import CHROMIUM, FLAGS, Demo, demo, visitors

ROOT = Path(__file__).parent.parent.parent
MOST_BYTES = 120_000
_STEADY_FOR = 75.0
_BAKING_FOR = 20.0


class Photographer:
    """Takes pictures of pages into a folder.

    Args:
        pages: by the suffix of their pictures' names, each with whether to take the whole page.
    """

    def __init__(self, folder: Path, pages: dict[str, Page]) -> None:
        self._folder = folder
        self._pages = pages

    def take(self, name: str) -> None:
        """One picture of each page."""
        for suffix, page in self._pages.items():
            path = self._folder / f"dashboard-{name}{suffix}.png"
            page.screenshot(path=path, animations="disabled")
            shrink(path)
            sys.stderr.write(f"{path}  {path.stat().st_size} bytes\n")


def shrink(path: Path) -> None:
    """Keep 128 colors, which a page of few colors does not miss.

    Raises:
        SystemExit: when the picture is too large for a documentation even so.
    """
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128)
    small.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has over {MOST_BYTES} bytes")


def play(stage: Demo, pages: dict[str, Page], photographer: Photographer) -> None:
    """Steady, asked, draining, baking, taken back, and the page of what went wrong."""
    page = pages[""]
    for each in pages.values():
        each.goto(stage.dashboard)
    time.sleep(_STEADY_FOR)
    photographer.take("steady")
    page.get_by_role("button", name="Switch to ▲ green").click()
    page.get_by_label("Why").fill("release 2")
    photographer.take("confirm")
    slow = [threading.Thread(target=stage.visit, args=("/slow?seconds=6",)) for _ in range(3)]
    for thread in slow:
        thread.start()
    time.sleep(1.5)
    page.locator("#confirm-go").click()
    expect(page.locator(".drain")).to_be_visible()
    time.sleep(2.5)
    photographer.take("draining")
    for thread in slow:
        thread.join()
    time.sleep(_BAKING_FOR)
    stage.fail(0.3)
    time.sleep(4)
    photographer.take("baking")
    expect(page.locator(".taken-back")).to_be_visible(timeout=60_000)
    time.sleep(3)
    photographer.take("rolled-back")
    for each in pages.values():
        each.get_by_role("link", name=re.compile("Charts, evidence")).click()
        expect(each.locator(".deployment .outcome")).to_contain_text("taken back")
    time.sleep(1)
    photographer.take("deployment")


def main(arguments: Sequence[str]) -> None:
    """Into the documentation, or into a folder of one's own: then in the dark and narrow, too."""
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    looks: dict[str, dict[str, object]] = {"": {"viewport": {"width": 1280, "height": 1100}}}
    if arguments:
        looks["-dark"] = looks[""] | {"color_scheme": "dark"}
        looks["-narrow"] = {"viewport": {"width": 390, "height": 1600}}
    with ExitStack() as stack:
        stage = stack.enter_context(demo())
        stack.enter_context(visitors(f"{stage.traffic}/", count=3, pause=0.02))
        driver = stack.enter_context(sync_playwright())
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        stack.callback(browser.close)
        pages = {
            suffix: browser.new_context(**look).new_page()  # type: ignore[arg-type]
            for suffix, look in looks.items()
        }
        play(stage, pages, Photographer(folder, pages))


if __name__ == "__main__":
    main(sys.argv[1:])
