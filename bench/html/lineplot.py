"""Series over an axis: throughput by streams, latency by percentile."""

from __future__ import annotations

from collections.abc import Sequence

from .drawing import Series, canvas, fold, key, text, text_width, whisker
from .markup import Element, element
from .palette import SERIES, mark
from .scale import Logarithmic, Scale

__all__ = ["lineplot"]

_MARGIN = 6.0
_HEIGHT = 190.0


def _bottom(scale: Scale, left: float, length: float, base: float, edge: float) -> list[Element]:
    parts: list[Element] = []
    end = -_MARGIN
    for value, label in scale.ticks():
        x = left + scale.place(value) * length
        parts.append(element("path", class_="axis", d=f"M{x:.2f} {base:.2f}v4"))
        half = text_width(label, 10) / 2
        middle = min(x, edge - half - 1)
        if middle - half > end + 3:
            parts.append(text(label, middle, base + 15, "small faint", "middle"))
            end = middle + half
    return parts


def _side(scale: Scale, left: float, length: float, base: float) -> list[Element]:
    parts: list[Element] = []
    last = base + 100
    for value, label in scale.ticks():
        y = base - scale.place(value) * _HEIGHT
        parts.append(element("path", class_="grid", d=f"M{left:.2f} {y:.2f}h{length:.2f}"))
        if last - y > 11:
            parts.append(text(label, left - 5, y + 3.5, "small faint", "end"))
            last = y
    return parts


def lineplot(
    name: str,
    title: str,
    description: str,
    axes: tuple[str, str],
    series: Sequence[Series],
    scales: tuple[Scale, Scale],
    *,
    width: float = 320.0,
) -> Element:
    """Draw series.

    Args:
        name: to be used once in a document.
        title: above the plot.
        description: for those who do not see it.
        axes: what is across, and what is upwards, each with its unit.
        series: what to draw.
        scales: across and upwards.
        width: of the plot; its height follows from the legend.
    """
    across, up = scales
    labels = [label for _, label in up.ticks()]
    left = max((text_width(label, 10) for label in labels), default=20) + 10
    length = width - left - _MARGIN
    parts: list[Element] = []
    y = 4.0
    for words in fold(title, width - 2 * _MARGIN, 3, 12.5):
        y += 16
        parts.append(text(words, _MARGIN, y, "title"))
    legend, y = key(series, _MARGIN, y + 14, width - 2 * _MARGIN, lines=True)
    parts += legend
    more = ", logarithmic" if isinstance(up, Logarithmic) else ""
    for words in fold(axes[1] + more, width - 2 * _MARGIN, 1, 10):
        y += 10
        parts.append(text(words, _MARGIN, y, "small faint"))
    base = y + 10 + _HEIGHT
    parts += _side(up, left, length, base)
    parts += _bottom(across, left, length, base, width)
    parts.append(element("path", class_="axis", d=f"M{left:.2f} {base:.2f}h{length:.2f}"))

    def place(x: float, value: float) -> tuple[float, float]:
        return left + across.place(x) * length, base - up.place(value) * _HEIGHT

    for one in series:
        group = element("g", class_=f"s{one.style % SERIES}")
        line = one.line or tuple((point.x, point.value) for point in one.points)
        corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in (place(*corner) for corner in line))
        if len(line) > 1:
            group.append(element("path", class_="line", d=f"M{corners}"))
        for point in one.points:
            x, y = place(point.x, point.value)
            spot = element("g", element("title", point.tip))
            if point.low < point.high:
                spot.append(whisker(point, up, x, base, -_HEIGHT, upright=True))
            spot.append(element("path", class_="mark", d=mark(one.style, x, y, 3.6)))
            group.append(spot)
        parts.append(group)
    y = base + 17
    for words in fold(axes[0], length, 2, 10):
        y += 13
        parts.append(text(words, left + length / 2, y, "small faint", "middle"))
    plot = canvas(width, y + 8, title, description, name)
    plot.extend(parts)
    return plot
