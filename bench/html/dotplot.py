"""A row for each thing measured, its values as marks on one axis: long names have room, on a phone, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .drawing import Point, Series, canvas, fold, key, text, text_width, whisker
from .markup import Element, element
from .palette import SERIES, mark
from .scale import Linear, Logarithmic, Scale

__all__ = ["Row", "dotplot"]

_MARGIN = 6.0
_LANE = 9.0


@dataclass(frozen=True, slots=True)
class Row:
    """A row, or a heading over rows.

    Attributes:
        name: what it says.
        points: by number of the series.
        strong: whether its name is to stand out.
        value: what is written at the right of the name.
        heading: whether it is one.
    """

    name: str
    points: tuple[tuple[int, Point], ...] = ()
    strong: bool = False
    value: str = ""
    heading: bool = False


def _grid(scale: Scale, left: float, length: float, top: float, bottom: float) -> list[Element]:
    parts: list[Element] = []
    end = -_MARGIN
    for value, label in scale.ticks():
        x = left + scale.place(value) * length
        parts.append(element("path", class_="grid", d=f"M{x:.2f} {top:.2f}V{bottom:.2f}"))
        half = text_width(label, 10) / 2
        middle = min(max(x, half + 1), left + length + _MARGIN - half - 1)
        if middle - half > end + 4:
            parts.append(text(label, middle, bottom + 13, "small faint", "middle"))
            end = middle + half
    return parts


def _lanes(places: Sequence[float]) -> list[int]:
    """Spread marks that would cover each other over as few lines as need be."""
    lanes: list[int] = []
    for i, x in enumerate(places):
        taken = {lane for other, lane in zip(places, lanes, strict=False) if abs(other - x) < _LANE}
        lanes.append(next(lane for lane in range(i + 1) if lane not in taken))
    return lanes


def _name(row: Row, parts: list[Element], left: float, length: float, y: float) -> float:
    """Write a row's name and value; return the last baseline."""
    room = length - (text_width(row.value) + 10 if row.value else 0)
    style = "faint small" if row.heading else "strong" if row.strong else ""
    y += 4
    for line in fold(row.name, room, 2):
        y += 13
        parts.append(text(line, left, y, style))
    if row.value:
        parts.append(text(row.value, left + length, y, "faint", "end"))
    return y


def _marks(
    row: Row,
    series: Sequence[Series],
    scale: Scale,
    parts: list[Element],
    left: float,
    length: float,
    y: float,
    *,
    packed: bool,
) -> float:
    """Draw a row's marks below its name; return where they end."""
    places = [left + scale.place(point.value) * length for _, point in row.points]
    lanes = _lanes(places) if packed else list(range(len(places)))
    for (number, point), x, lane in zip(row.points, places, lanes, strict=True):
        across = y + 9 + lane * _LANE
        group = element("g", element("title", point.tip), class_=f"s{series[number].style % SERIES}")
        if isinstance(scale, Linear) and not packed:
            group.append(element("path", class_="stem", d=f"M{left:.2f} {across:.2f}H{x:.2f}"))
        if point.low < point.high:
            group.append(whisker(point, scale, across, left, length, upright=False))
        group.append(element("path", class_="mark", d=mark(series[number].style, x, across, 3.6)))
        parts.append(group)
    return y + 11 + max(lanes, default=0) * _LANE


def dotplot(
    name: str,
    title: str,
    description: str,
    axis: str,
    series: Sequence[Series],
    rows: Sequence[Row],
    scale: Scale,
    *,
    width: float = 320.0,
    reference: tuple[float, str] | None = None,
    packed: bool = False,
) -> Element:
    """Draw rows of marks.

    Args:
        name: to be used once in a document.
        title: above the plot.
        description: for those who do not see it.
        axis: what the axis is, and in which unit.
        series: names and styles of the marks; their points are not looked at.
        rows: from top to bottom.
        scale: of all values.
        width: of the plot; its height follows from the rows.
        reference: a value that gets a line of its own, and what that line is.
        packed: whether marks share a line where they have room; else each series has its own.
    """
    left, length = _MARGIN, width - 2 * _MARGIN
    parts: list[Element] = []
    y = 4.0
    for line in fold(title, length, 3, 12.5):
        y += 16
        parts.append(text(line, left, y, "title"))
    y += 14
    if len(series) > 1 or series[0].name:
        legend, y = key(series, left, y, length, lines=False)
        parts += legend
    top = y
    marks: list[Element] = []
    for row in rows:
        if row.heading and marks:
            y += 5
        y = _name(row, marks, left, length, y)
        if not row.heading:
            y = _marks(row, series, scale, marks, left, length, y, packed=packed)
    bottom = y + 10
    parts += _grid(scale, left, length, top, bottom)
    if reference is not None:
        x = left + scale.place(reference[0]) * length
        parts.append(
            element(
                "path",
                element("title", reference[1]),
                class_="axis reference",
                d=f"M{x:.2f} {top:.2f}V{bottom:.2f}",
            )
        )
    parts += marks
    parts.append(element("path", class_="axis", d=f"M{left} {bottom:.2f}h{length:.2f}"))
    more = ", logarithmic" if isinstance(scale, Logarithmic) else ""
    y = bottom + 15
    dashed = f"; dashed: {reference[1]}" if reference else ""
    for line in fold(axis + more + dashed, length, 3, 10):
        y += 13
        parts.append(text(line, width / 2, y, "small faint", "middle"))
    plot = canvas(width, y + 8, title, description, name)
    plot.extend(parts)
    return plot
