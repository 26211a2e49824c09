"""The pictures of the results, in light and in dark, as SVG and PNG.

Each carries the digest of the figures that it shows, so that a test can tell an old picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison import Comparison
from benchmarks.growth import medians
from benchmarks.tables import shown

SHOWN_PEERS = ("bgproxy", "nginx", "HAProxy", "Envoy", "Traefik", "Caddy", "aiohttp")
SHOWN_WORKLOADS = {
    "browser": "browser-like head",
    "100k": "100 KiB answer",
    "upload": "1 MiB upload",
    "tls": "browser-like head over TLS",
}
THEMES = {
    "light": {"text": "#1f2328", "muted": "#59636e", "ours": "#0969da", "others": "#afb8c1"},
    "dark": {"text": "#f0f6fc", "muted": "#9198a1", "ours": "#4493f8", "others": "#4a515a"},
}
"""Colors that can be read on either background; the pictures have none of their own."""

OURS = "bgproxy"


def digest(figures: object) -> str:
    """A short name for what a picture shows."""
    return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()[:16]


def comparison_figures(found: Comparison) -> dict[str, dict[str, float | None]]:
    """What `draw_comparison` shows: by workload and peer, CPU time per request."""
    return {
        name: {peer: found.cpu_us(peer, name) for peer in SHOWN_PEERS if peer in found.versions}
        for name in SHOWN_WORKLOADS
        if name in found.columns
    }


def draw_comparison(found: Comparison, folder: Path) -> None:
    """One panel for each workload, one bar for each proxy; ours first and in color."""
    figures = comparison_figures(found)

    def draw(colors: Mapping[str, str]) -> Figure:
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        for place, (name, costs) in enumerate(figures.items(), 1):
            _bars(figure.add_subplot(2, 2, place), SHOWN_WORKLOADS[name], costs, colors)
        return figure

    _save(draw, "compare", folder, digest(figures))


def _bars(
    axes: Axes, title: str, costs: Mapping[str, float | None], colors: Mapping[str, str]
) -> None:
    names = [name for name, cost in costs.items() if cost is not None]
    values = [cost for cost in costs.values() if cost is not None]
    bars = axes.barh(
        names, values, color=[colors["ours" if name == OURS else "others"] for name in names]
    )
    labels = [shown(value) for value in values]
    axes.bar_label(bars, labels, padding=4, color=colors["text"], fontsize=9)
    axes.set_title(f"{title}: CPU µs per request", color=colors["text"], loc="left", fontsize=10)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values, default=1) * 1.15)
    axes.xaxis.set_visible(False)
    axes.tick_params(axis="y", length=0, labelcolor=colors["text"], labelsize=9)
    axes.spines[:].set_visible(False)


def growth_figures(found: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """What `draw_growth` shows: by what there is more of, CPU time by count; and memory."""
    kinds = dict.fromkeys(point["what"] for point in found["points"])
    memory = {int(count): mib for count, mib in found["memory_mib"].items()}
    return {**{what: medians(found, what) for what in kinds}, "memory": memory}


def draw_growth(found: Mapping[str, Any], folder: Path) -> None:
    """One panel for each thing that there can be more of."""
    figures = growth_figures(found)

    def draw(colors: Mapping[str, str]) -> Figure:
        figure = Figure(figsize=(11, 2.8), layout="constrained")
        for place, (what, values) in enumerate(figures.items(), 1):
            _curve(figure.add_subplot(1, len(figures), place), what, values, colors)
        return figure

    _save(draw, "growth", folder, digest(figures))


def _curve(axes: Axes, what: str, values: Mapping[int, float], colors: Mapping[str, str]) -> None:
    axes.plot(list(values), list(values.values()), "o-", color=colors["ours"])
    is_memory = what == "memory"
    axes.set_title(
        "MiB against connections" if is_memory else f"CPU µs against {what}",
        color=colors["text"],
        loc="left",
        fontsize=10,
    )
    if not is_memory and what != "fields":
        axes.set_xscale("log")
    axes.set_ylim(0, max(values.values()) * 1.2)
    axes.tick_params(colors=colors["muted"], labelsize=8, which="both")
    axes.spines[:].set_color(colors["muted"])
    axes.spines[["top", "right"]].set_visible(False)


def _save(
    draw: Callable[[Mapping[str, str]], Figure], name: str, folder: Path, fingerprint: str
) -> None:
    """As NAME-light and NAME-dark, each in SVG and PNG."""
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        for theme, colors in THEMES.items():
            figure = draw(colors)
            for kind, metadata in (
                ("svg", {"Description": fingerprint, "Date": None}),
                ("png", {"Description": fingerprint}),
            ):
                file = folder / f"{name}-{theme}.{kind}"
                figure.savefig(file, metadata=metadata, transparent=True, dpi=144)
