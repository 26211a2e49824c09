"""The table of a deployment's phases as a drawing; ``make plots`` writes it for the documentation.

Where a box stands is written here; which arrows there are follows from the table alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from bgproxy.domain.deployment import TABLE, Phase

FILE = Path(__file__).parent.parent / "docs" / "images" / "deployment-states.svg"

_WIDTH, _HEIGHT = 980, 400
_BOX = (104, 34)
_PLACES: dict[Phase, tuple[int, int]] = {
    Phase.VERIFYING: (70, 130),
    Phase.SWITCHING: (250, 130),
    Phase.SETTLING: (460, 170),
    Phase.DRAINING: (690, 60),
    Phase.BAKING: (690, 190),
    Phase.FINISHED: (910, 120),
    Phase.FAILED: (165, 300),
    Phase.SUPERSEDED: (430, 350),
    Phase.ROLLED_BACK: (910, 350),
}
_FAR = (Phase.SUPERSEDED, Phase.ROLLED_BACK)
_LABELS = {Phase.SETTLING: 0.6, Phase.DRAINING: 0.68, Phase.BAKING: 0.35}
"""How far along an arrow to these its label stands, so that labels do not meet."""
_TEXT = 'font-family="sans-serif" text-anchor="middle"'


def drawing() -> str:
    """The SVG document."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, event), step in TABLE.items():
        arrows.setdefault((phase, step.phase), []).append(str(event))
    parts = [part for ends, events in arrows.items() for part in _arrow(*ends, events)]
    parts += [part for phase, place in _PLACES.items() for part in _box(phase, *place)]
    inside = "\n".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">
<title>The phases of a deployment and what leads from one to the next</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0L8 4L0 8z" fill="#59636e"/></marker></defs>
<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>
{inside}
</svg>
"""


def _box(phase: Phase, x: int, y: int) -> Iterator[str]:
    width, height = _BOX
    fill = "#eef1f4" if phase.is_over else "#ddf4ff"
    yield (
        f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" '
        f'rx="6" fill="{fill}" stroke="#59636e"/>'
    )
    yield f'<text x="{x}" y="{y + 5}" font-size="14" fill="#1f2328" {_TEXT}>{phase}</text>'


def _arrow(source: Phase, target: Phase, events: list[str]) -> Iterator[str]:
    name = f'data-from="{source}" data-to="{target}" data-on="{" ".join(events)}"'
    line = f'fill="none" stroke="#59636e" marker-end="url(#tip)" {name}'
    x, y = _PLACES[source]
    if source is target:
        top = y - _BOX[1] // 2
        high = top - 26
        yield f'<path d="M{x - 16} {top}C{x - 30} {high} {x + 30} {high} {x + 16} {top}" {line}/>'
        yield _label(x, top - 23, events)
        return
    start = _edge(source, target)
    end = _edge(target, source)
    yield f'<path d="M{start[0]:.0f} {start[1]:.0f}L{end[0]:.0f} {end[1]:.0f}" {line}/>'
    part = _LABELS.get(source, 0.5) if target in _FAR else 0.5
    across = start[0] + part * (end[0] - start[0])
    down = start[1] + part * (end[1] - start[1])
    yield _label(across, down - 5 - 12 * (len(events) - 1), events)


def _edge(of: Phase, towards: Phase) -> tuple[float, float]:
    """Where the line between two boxes' middles leaves the first."""
    (x, y), (to_x, to_y) = _PLACES[of], _PLACES[towards]
    dx, dy = to_x - x, to_y - y
    scale = min(
        (_BOX[0] / 2) / abs(dx) if dx else math.inf, (_BOX[1] / 2) / abs(dy) if dy else math.inf
    )
    return x + dx * scale, y + dy * scale


def _label(x: float, y: float, events: list[str]) -> str:
    lines = "".join(
        f'<tspan x="{x:.0f}" dy="{12 if number else 0}">{event}</tspan>'
        for number, event in enumerate(events)
    )
    halo = 'paint-order="stroke" stroke="#fff" stroke-width="3"'
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="11" fill="#0550ae" {halo} {_TEXT}>{lines}</text>'
    )


def main() -> None:
    """Write it."""
    FILE.write_text(drawing(), "utf-8")


if __name__ == "__main__":
    main()
