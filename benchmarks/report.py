"""Show the results everywhere again: tables in the pages, pictures, `results/*.md`.

`python -m benchmarks.report` writes them from `results/*.json`; with `--check` it only says which
pages do not show what the figures say, and exits with 1 if there are any. Each page has places for
what it shows, between `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import growth, open_loop, results, startup, switching, workers
from benchmarks.comparison import Comparison
from benchmarks.machine import described
from benchmarks.processes import PROJECT
from benchmarks.tables import shown, table, with_section

README_WORKLOADS = {
    "small": "small",
    "browser": "browser-like head",
    "10k": "10 KiB",
    "100k": "100 KiB",
    "tls": "over TLS",
}
README_PEERS = ("bgproxy", "nginx", "HAProxy", "Envoy", "Traefik", "Caddy", "aiohttp")

SHOWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "open_loop": open_loop.show,
    "workers": workers.show,
    "switching": switching.show,
    "growth": growth.show,
    "startup": startup.show,
}
"""What makes the tables of each file of results but the comparison's."""


def cpu_table(found: Comparison, peers: Sequence[str], workloads: dict[str, str]) -> str:
    """CPU time per request in microseconds, of some proxies and some workloads."""
    present = {name: title for name, title in workloads.items() if name in found.columns}
    rows = {
        f"{peer} {found.versions[peer]}": [shown(found.cpu_us(peer, name)) for name in present]
        for peer in peers
        if peer in found.versions
    }
    return table(list(present.values()), rows, "CPU time per request, µs")


def sections(folder: Path = results.FOLDER) -> dict[str, str]:
    """What the pages show, by the name of the place; only of files that are there."""
    found: dict[str, str] = {}
    if (folder / "compare.json").exists():
        comparison = Comparison.read(folder / "compare.json")
        every = {name: name for name in comparison.columns}
        found["compare: some"] = cpu_table(comparison, README_PEERS, README_WORKLOADS)
        found["compare: all"] = cpu_table(comparison, list(comparison.versions), every)
        found["compare: machine"] = f"{described(comparison.machine)}."
    for name, show in SHOWS.items():
        if (folder / f"{name}.json").exists():
            document = results.load(name, folder)
            found[name] = f"{described(document['machine'])}.\n\n{show(document)}"
    return found


def pages() -> list[Path]:
    """Those that may show results."""
    return [PROJECT / "README.md", PROJECT / "docs" / "performance.md"]


def renewed(page: str, content: dict[str, str]) -> str:
    """The page with what it has places for."""
    for name, text in content.items():
        if f"<!-- {name} -->" in page:
            page = with_section(page, name, text)
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write everything, or check.

    Returns:
        0, or 1 when a page does not show what the results say.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Show the results everywhere."
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    content = sections()
    is_old = False
    for page in pages():
        text = page.read_text()
        new = renewed(text, content)
        if new != text and options.check:
            print(f"{page} does not show the results: python -m benchmarks.report")
            is_old = True
        elif new != text:
            page.write_text(new)
            print(f"{page} renewed")
    if not options.check:
        _write_results(results.FOLDER, content)
    return int(is_old)


def _write_results(folder: Path, content: dict[str, str]) -> None:
    # Drawing takes a library that checking must do without.
    from benchmarks import plots

    if (folder / "compare.json").exists():
        comparison = Comparison.read(folder / "compare.json")
        (folder / "compare.md").write_text(comparison.markdown())
        plots.draw_comparison(comparison, folder)
    if (folder / "growth.json").exists():
        plots.draw_growth(results.load("growth", folder), folder)
    for name in SHOWS:
        if name in content:
            (folder / f"{name}.md").write_text(f"# {name.replace('_', ' ')}\n\n{content[name]}\n")


if __name__ == "__main__":
    sys.exit(main())
