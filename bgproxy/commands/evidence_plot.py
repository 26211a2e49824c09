"""The evidence of a simulation as a picture."""

from __future__ import annotations

from bgproxy.domain.simulation import Simulation

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 240, 44, 28, 16


def evidence_svg(found: Simulation, needed: float) -> str:
    """Evidence over the seconds since the switch, and the line at which it decides.

    Args:
        needed: the evidence that decides.

    Returns:
        An SVG document; it needs no font and no style of the page that shows it.
    """
    seconds = max(1, len(found.evidence))
    top = needed * 1.15
    across, up = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP

    def place(second: float, evidence: float) -> str:
        return f"{_LEFT + across * second / seconds:.1f},{_TOP + up * (1 - evidence / top):.1f}"

    curve = " ".join(place(at, value) for at, value in enumerate((0.0, *found.evidence)))
    bottom, line = _TOP + up, _TOP + up * (1 - needed / top)
    text = 'font-family="sans-serif" font-size="12" fill="#555"'
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">
<title>Evidence of harm: {found.outcome} after {found.seconds:.0f} s</title>
<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>
<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - 8}" fill="none" stroke="#999"/>
<path d="M{_LEFT} {line:.1f}H{_WIDTH - 8}" stroke="#c33" stroke-dasharray="6 4"/>
<polyline points="{curve}" fill="none" stroke="#26c" stroke-width="2"/>
<text x="{_LEFT - 6}" y="{line + 4:.1f}" text-anchor="end" {text}>{needed:g}</text>
<text x="{_LEFT - 6}" y="{bottom + 4}" text-anchor="end" {text}>0</text>
<text x="{_LEFT}" y="{_HEIGHT - 8}" {text}>switch</text>
<text x="{_WIDTH - 8}" y="{_HEIGHT - 8}" text-anchor="end" {text}>{seconds} s</text>
</svg>
"""
