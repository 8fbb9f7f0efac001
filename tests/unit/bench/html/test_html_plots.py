"""Axes, and what the plots draw where."""

import colorsys
import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsasec.bench.html.drawing import fold, standalone, text_width
from wsasec.bench.html.markup import clean, to_svg
from wsasec.bench.html.palette import DARK, DASHES, LIGHT, MARKS, SERIES, Scheme, mark
from wsasec.bench.html.plots import latency_plots, ratio_plots, setup_plots, throughput_plots
from wsasec.bench.html.scale import Linear, Logarithmic, Scale, Steps, Tail, fitting
from wsasec.bench.reading import read
from wsasec.bench.tables import traffic_tables

RUN = read(json.loads(Path(__file__).parent.with_name("sample.json").read_text()))
values = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20)


def check(scale: Scale, given_: list[float]) -> None:
    ticks = scale.ticks()
    assert len(ticks) <= 24
    assert [value for value, _ in ticks] == sorted({value for value, _ in ticks})
    for value in [*given_, *(value for value, _ in ticks)]:
        assert 0 <= scale.place(value) <= 1
    ordered = sorted(given_)
    assert [scale.place(value) for value in ordered] == sorted(scale.place(value) for value in ordered)


@given(values)
def test_any_values_have_a_place(given_: list[float]) -> None:
    for scale in (Linear.over(given_), Logarithmic.over(given_), fitting(given_)):
        check(scale, given_)


@given(values, st.floats(1, 9))
def test_any_part_has_a_place(given_: list[float], nines: float) -> None:
    check(Tail(nines), given_)


def test_linear_axes_begin_at_zero_and_end_at_a_round_value() -> None:
    scale = Linear.over([4.2, 13.4])
    assert scale.ticks() == [(0.0, "0"), (5.0, "5"), (10.0, "10"), (15.0, "15")]
    assert scale.place(7.5) == pytest.approx(0.5)
    assert [label for _, label in Linear.over([1_300_000.0]).ticks()][-1] == "1.5M"


def test_logarithmic_axes() -> None:
    scale = Logarithmic.over([0.05, 5.0])
    assert [value for value, _ in scale.ticks()] == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    assert scale.place(0.5) == pytest.approx(0.5)
    assert scale.place(0) == scale.place(-1) == 0


def test_values_far_apart_get_a_logarithmic_axis() -> None:
    assert isinstance(fitting([1, 11]), Linear)
    assert isinstance(fitting([1, 13]), Logarithmic)
    assert isinstance(fitting([1, 13], wide=20), Linear)


def test_each_nine_takes_the_same_room() -> None:
    scale = Tail(4)
    assert [scale.place(part) for part in (0, 0.9, 0.99, 0.999, 0.9999, 1)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1, 1]
    )


def test_steps() -> None:
    assert [Steps((1, 16, 256)).place(value) for value in (1, 16, 256)] == pytest.approx(
        [1 / 6, 1 / 2, 5 / 6]
    )


@given(st.text(), st.floats(30, 400), st.integers(1, 4))
def test_text_is_folded_into_its_room(words: str, width: float, lines: int) -> None:
    folded = fold(words, width, lines)
    assert 1 <= len(folded) <= lines
    assert all(text_width(line) <= width + 1 for line in folded)
    kept = "".join("".join(folded).split())
    if not kept.endswith("…"):
        assert len(kept) == len("".join(clean(words).split()))


def test_folding_keeps_words_whole() -> None:
    assert fold("one two three four", text_width("one two th"), 3) == ["one two", "three four"]
    assert fold("one two three four", text_width("one two th"), 1)[0].endswith("…")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(scheme: Scheme) -> None:
    assert contrast(scheme.ink, scheme.paper) >= 7
    assert contrast(scheme.faint, scheme.paper) >= 4.5
    assert min(contrast(colour, scheme.paper) for colour in scheme.series) >= 3
    hues = {
        round(colorsys.rgb_to_hls(*(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)))[0], 3)
        for c in scheme.series
    }
    assert len(hues) == len(scheme.series)


def test_series_differ_in_more_than_their_colour() -> None:
    assert len(set(DASHES)) == len(set(MARKS)) == len(LIGHT.series) == len(DARK.series) == SERIES
    assert len({mark(style, 0, 0, 3) for style in range(SERIES)}) == SERIES


def parsed(plot: ElementTree.Element) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(standalone(plot)))


SVG = "{http://www.w3.org/2000/svg}"


def test_every_method_and_size_has_its_mark_and_its_spread() -> None:
    plots = list(setup_plots(RUN))
    assert len(plots) == 5
    rows = [
        row
        for row in RUN.setup
        if (row.family, row.type) == ("inet", "stream") and row.group not in ("query", "teardown")
    ]
    root = parsed(plots[0])
    marks = [mark for mark in root.iter(f"{SVG}path") if mark.get("class") == "mark"]
    spreads = [mark for mark in root.iter(f"{SVG}path") if mark.get("class") == "spread"]
    assert len(marks) == len(rows) + 3  # the legend has one for each size
    assert len(spreads) == len(rows)
    tips = {tip.text for tip in root.iter(f"{SVG}title")}
    row = rows[1]
    assert any(f"{row.title}, {row.sockets:,} sockets: {row.us.median:.2f} µs" in str(tip) for tip in tips)
    assert [text.text for text in root.iter(f"{SVG}text") if str(text.text).isdigit()] == [
        "0",
        "5",
        "10",
        "15",
    ]
    assert [path.get("class") for path in root.iter(f"{SVG}path")].count("axis reference") == 1


def test_marks_stand_where_their_values_are() -> None:
    [plot] = [plot for plot in throughput_plots(RUN) if "256 KiB" in str(plot[0].text)]
    points = {}
    for group in plot:
        for spot in group:
            if spot.tag == "g" and spot[0].text:
                found = re.match(r"(.+), ([\d,]+) streams: ([\d.]+) Gbit/s", spot[0].text)
                assert found
                y = float(re.findall(r"[\d.]+", spot[-1].get("d", ""))[1])
                points[found[1], found[2]] = (float(found[3]), y)
    assert len(points) == 5 * 4 + 2
    ordered = sorted(points.values())
    # An outline begins up to 4.5 above a mark's middle.
    assert all(above[1] <= below[1] + 5 for below, above in pairwise(ordered))
    assert points["plain", "1"][1] < points["secured", "1"][1] - 50


def test_latency_goes_as_far_as_there_are_requests() -> None:
    plots = list(latency_plots(RUN))
    assert [str(plot[0].text).split(",")[0] for plot in plots] == [
        "Latency of connecting",
        "Latency of requests",
        "Latency of requests",
    ]
    labels = [text.text for text in plots[1].iter("text")]
    assert "99.9" in labels
    assert "99.99" not in labels  # of 9,000 requests, that is none
    assert math.log10(9000) < 4


def test_ratios() -> None:
    [plot] = ratio_plots(RUN)
    described = str(plot[1].text)
    assert "connecting, 1,000, to plain: 0.776" in described
    assert "to TLS: 18.3" in described
    assert "1 stream, 256 KiB, to one policy for all: 1.07" in described
    assert "1 stream, 256 KiB, to TLS: 0.108" in described


def test_a_ratio_is_the_same_in_plot_and_table() -> None:
    # Of pairs, not what the medians come to.
    rows = [
        replace(row, ratio_to_policy=0.625, ratio_to_tls=0.375, ratio_to_plain=0.125)
        for row in RUN.throughput
    ]
    run = replace(RUN, throughput=tuple(rows))
    [plot] = ratio_plots(run)
    [table] = [table for table in traffic_tables(run) if table.title == "Throughput"]
    described = str(plot[1].text)
    places = {
        "of plain": "16 streams, 256 KiB, to plain: 0.125",
        "of one policy": "16 streams, 256 KiB, to one policy for all: 0.625",
        "of TLS †": "16 streams, 256 KiB, to TLS: 0.375",
    }
    for column, words in places.items():
        at = list(table.columns).index(column)
        assert words in described
        assert {row[at].text for row in table.rows if len(row) > 1} == {words.split(": ")[-1]}


def test_a_plot_in_a_file_of_its_own_brings_its_style() -> None:
    plot = next(setup_plots(RUN, width=480))
    root = parsed(plot)
    assert (root.tag, root.get("width")) == (f"{SVG}svg", "480")
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme:dark" in str(style.text)
    assert "url(" not in str(style.text)
