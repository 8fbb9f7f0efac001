"""What all plots have: a frame, axes, a legend, and text that fits."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .markup import Element, clean, element
from .palette import SERIES, mark, plot_css
from .scale import Scale

__all__ = ["SIZE", "Point", "Series", "canvas", "fold", "key", "standalone", "text", "text_width", "whisker"]

SIZE: Final = 11.0
"""Height of ordinary text in a plot, in its units."""
_EM: Final = 0.62


@dataclass(frozen=True, slots=True)
class Point:
    """A measured value: where it is, its middle half, and its description.

    Attributes:
        x: on the axis across; not used in a plot of rows.
        value: its median.
        low: first quartile.
        high: third quartile.
        tip: what is shown when a pointer rests on it.
    """

    x: float
    value: float
    low: float
    high: float
    tip: str


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together.

    Attributes:
        name: in the legend.
        style: number of its colour, mark and dash.
        points: those with a mark.
        line: (x, y) of a line of its own; without one, the line goes through the points.
    """

    name: str
    style: int
    points: tuple[Point, ...]
    line: tuple[tuple[float, float], ...] = ()


def text_width(words: str, size: float = SIZE) -> float:
    """Return about how wide a text is, rather too much than too little: the reader's font is not known."""
    return sum(
        0.0 if unicodedata.combining(c) else size * (1.05 if ord(c) > 0x2E7F or c in "MW@%" else _EM)
        for c in words
    )


def _cut(words: str, width: float, size: float) -> int:
    """Return how many characters of a text fit; one at least."""
    for count in range(1, len(words)):
        if text_width(words[: count + 1], size) > width:
            return count
    return max(len(words), 1)


def fold(words: str, width: float, lines: int, size: float = SIZE) -> list[str]:
    """Break a text into so many lines of so many units at most; what does not fit ends in dots."""
    rest = " ".join(clean(words).split())
    folded: list[str] = []
    while rest and len(folded) < lines:
        count = _cut(rest, width, size)
        if count < len(rest) and len(folded) == lines - 1:
            folded.append(rest[: _cut(rest, width - size, size)].rstrip() + "…")
            break
        space = rest.rfind(" ", 0, count + 1) if count < len(rest) else -1
        count = space if space > 0 else count
        folded.append(rest[:count])
        rest = rest[count:].lstrip()
    return folded or [""]


def text(words: str, x: float, y: float, style: str = "", anchor: str = "start") -> Element:
    """Make a line of text at its baseline."""
    return element("text", words, x=x, y=y, class_=style, text_anchor=anchor)


def canvas(width: float, height: float, title: str, description: str, name: str) -> Element:
    """Make an empty plot with its text alternatives; `name` is to be its own in the document."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        element("rect", class_="paper", width=width, height=height),
        class_="plot",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {width:g} {height:g}",
    )


def standalone(plot: Element) -> Element:
    """Return a plot as the root of a file of its own: with its style and its size."""
    _, _, width, height = plot.attrib["viewBox"].split()
    root = Element("svg", {**plot.attrib, "width": width, "height": height})
    root.extend([*plot[:2], element("style", plot_css()), *plot[2:]])
    return root


def whisker(
    point: Point, scale: Scale, across: float, along: float, length: float, *, upright: bool
) -> Element:
    """Draw the middle half of a point.

    Args:
        point: the point.
        scale: of its value.
        across: where it is on the other axis.
        along: where the value's axis begins.
        length: how long that is; below 0 if it runs up.
        upright: whether the value's axis does.
    """
    low, high = (along + scale.place(value) * length for value in (point.low, point.high))
    a, b = across - 2.5, across + 2.5
    if upright:
        d = f"M{across:.2f} {low:.2f}V{high:.2f}M{a:.2f} {low:.2f}H{b:.2f}M{a:.2f} {high:.2f}H{b:.2f}"
    else:
        d = f"M{low:.2f} {across:.2f}H{high:.2f}M{low:.2f} {a:.2f}V{b:.2f}M{high:.2f} {a:.2f}V{b:.2f}"
    return element("path", class_="spread", d=d)


def key(
    series: Sequence[Series], x: float, y: float, width: float, *, lines: bool
) -> tuple[list[Element], float]:
    """Draw a legend, in as many lines as it needs; return it and where it ends."""
    parts: list[Element] = []
    left = x
    lead = 28.0 if lines else 14.0
    for one in series:
        [name] = fold(one.name, width - lead - 4, 1)
        needed = lead + text_width(name) + 8
        if left > x and left + needed > x + width:
            left, y = x, y + 16
        group = element("g", class_=f"s{one.style % SERIES}")
        if lines:
            group.append(element("path", class_="line", d=f"M{left:.2f} {y:.2f}h22"))
        group.append(element("path", class_="mark", d=mark(one.style, left + (11 if lines else 5), y, 3.6)))
        group.append(text(name, left + lead, y + 4))
        parts.append(group)
        left += needed
    return parts, y + 12
