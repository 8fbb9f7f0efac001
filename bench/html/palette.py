"""Colours, marks and dashes of the series: any one of the three is enough to tell two series apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DARK", "LIGHT", "MARKS", "SERIES", "Scheme", "mark", "plot_css"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Colours of plots on a light or a dark page."""

    paper: str
    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]


# After Okabe and Ito's palette, darkened or lightened until each has a contrast of 3 to 1 with the paper.
LIGHT: Final = Scheme(
    paper="#ffffff",
    ink="#1c2128",
    faint="#59636e",
    grid="#d8dde3",
    series=("#0067a8", "#4a5058", "#c44e00", "#a8468a", "#00795a", "#8a6100", "#7a3b2e"),
)
DARK: Final = Scheme(
    paper="#171b21",
    ink="#e8ebef",
    faint="#a3acb7",
    grid="#363d47",
    series=("#56b4e9", "#c9ced6", "#ff8a3d", "#e08cc8", "#2cc79b", "#e6b422", "#d09a8c"),
)
DASHES: Final = ("none", "6 3", "2 2", "9 3 2 3", "4 2", "1 3", "12 4")
MARKS: Final = ("circle", "square", "up", "diamond", "down", "cross", "plus")
SERIES: Final = len(MARKS)
"""How many series can be told apart."""

_SHAPES: Final = {
    "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "up": ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "down": ((0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    "cross": (
        *((-1.1, -0.7), (-0.7, -1.1), (0, -0.4), (0.7, -1.1), (1.1, -0.7), (0.4, 0)),
        *((1.1, 0.7), (0.7, 1.1), (0, 0.4), (-0.7, 1.1), (-1.1, 0.7), (-0.4, 0)),
    ),
    "plus": (
        *((-0.35, -1.2), (0.35, -1.2), (0.35, -0.35), (1.2, -0.35), (1.2, 0.35), (0.35, 0.35)),
        *((0.35, 1.2), (-0.35, 1.2), (-0.35, 0.35), (-1.2, 0.35), (-1.2, -0.35), (-0.35, -0.35)),
    ),
}


def mark(style: int, x: float, y: float, radius: float) -> str:
    """Return the outline of a series' mark, as a path."""
    name = MARKS[style % SERIES]
    if name == "circle":
        r = f"{radius:.2f}"
        return (
            f"M{x - radius:.2f} {y:.2f}a{r} {r} 0 1 0 {2 * radius:.2f} 0a{r} {r} 0 1 0 {-2 * radius:.2f} 0Z"
        )
    points = " ".join(f"{x + dx * radius:.2f},{y + dy * radius:.2f}" for dx, dy in _SHAPES[name])
    return f"M{points}Z"


def _rules(scheme: Scheme) -> str:
    rules = [
        f".plot .paper{{fill:{scheme.paper}}}",
        f".plot text{{fill:{scheme.ink};stroke:{scheme.paper}}}",
        f".plot .faint{{fill:{scheme.faint}}}",
        f".plot .grid{{stroke:{scheme.grid}}}",
        f".plot .axis{{stroke:{scheme.faint}}}",
    ]
    for i, colour in enumerate(scheme.series):
        rules.append(f".plot .s{i} .mark{{fill:{colour};stroke:{scheme.paper}}}")
        rules.append(f".plot .s{i} :is(.line,.spread,.stem){{stroke:{colour}}}")
    return "".join(rules)


def plot_css() -> str:
    """Return the style of plots, for a page or for a file of its own."""
    dashes = "".join(f".plot .s{i} .line{{stroke-dasharray:{dash}}}" for i, dash in enumerate(DASHES))
    return (
        ".plot text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
        "paint-order:stroke;stroke-width:3px;stroke-linejoin:round}"
        ".plot .title{font-size:12.5px;font-weight:600}.plot .strong{font-weight:600}"
        ".plot .small{font-size:10px}"
        ".plot .grid,.plot .axis{stroke-width:1;shape-rendering:crispEdges}"
        ".plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
        ".plot .stem{stroke-width:1;opacity:.35}"
        ".plot .spread{fill:none;stroke-width:1.4}.plot .mark{stroke-width:.8}"
        ".plot .reference{stroke-dasharray:3 3}"
        + dashes
        + _rules(LIGHT)
        + f"@media(prefers-color-scheme:dark){{{_rules(DARK)}}}"
    )
