"""The report as a browser shows it."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from wsasec.bench.html import render, write

pytestmark = pytest.mark.long

Results = dict[str, Any]
SAMPLE = Path(__file__).parent.with_name("sample.json")


@pytest.fixture
def results() -> Results:
    return json.loads(SAMPLE.read_text())


def test_the_file_loads_without_a_word_or_a_request(results: Results, browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(results, page)
    loaded = browser.load(page, 1280)
    assert loaded.console == ()
    assert loaded.requests == ()
    assert "<h1>wsasec benchmark</h1>" in loaded.dom
    assert loaded.dom.count("<svg") == 11


def test_what_a_page_says_and_asks_for_would_be_seen(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<!DOCTYPE html><img src="http://192.0.2.1/x.png"><script>console.error("boo")</script>')
    loaded = browser.load(page, 1280)
    assert any("boo" in line for line in loaded.console)
    assert "http://192.0.2.1/x.png" in loaded.requests


def brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return 0.3 * red + 0.6 * green + 0.1 * blue


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_fits(results: Results, browser: Any, dark: bool) -> None:
    widths = (320, 360, 768, 1280)
    measured, loaded = browser.measure(render(results), *widths, dark=dark)
    assert loaded.console == ()
    assert loaded.requests == ()
    for width, found in zip(widths, measured, strict=True):
        assert found["inner"] == width
        assert found["scroll"] <= found["client"] <= width
        assert found["wide"] == []
        assert found["resources"] == []
        assert found["scripts"] == 0
        assert found["boxes"] > 5
        assert (brightness(found["paper"]) < 60) is dark
        assert len(found["plots"]) == 11
        for plot in found["plots"]:
            assert plot["width"] >= min(found["client"], 360) - 42, plot["name"]
            assert plot["height"] > 100, plot["name"]
            assert plot["right"] <= width
            assert plot["out"] == [], plot["name"]
            assert plot["crossed"] == [], plot["name"]
            assert plot["smallest"] >= (9.5 if width >= 360 else 8), plot["name"]  # in pixels
            assert (brightness(plot["ink"]) > 180) is dark, plot["name"]


def test_hostile_and_long_names_stay_text_and_stay_inside(
    results: Results, browser: Any, tmp_path: Path
) -> None:
    hostile = "</title></svg><script>document.title='x'</script><img src=http://192.0.2.1/x onerror=alert(1)>"
    for row in results["setup"]["summary"]:
        if row["method"] == "secure":
            row["title"] = hostile
        if row["method"] == "batch":
            row["title"] = "M" * 200
        if row["method"] == "ctypes":
            row["title"] = "漢字 and words " * 12
    for row in results["traffic"]["throughput"]:
        if row["kind"] == "iperf3":
            row["kind"] = hostile
    results["notes"].append("w" * 500)
    results["targets"][0]["name"] = hostile
    results["machine"]["cpu"] = "@" * 300
    results["errors"] = {hostile: hostile}
    [found], loaded = browser.measure(render(results), 360)
    assert loaded.console == ()
    assert loaded.requests == ()
    assert (found["scripts"], found["images"], found["titles"]) == (0, 0, 1)
    assert found["scroll"] <= found["client"]
    assert found["wide"] == []
    for plot in found["plots"]:
        assert plot["out"] == [], plot["name"]
        assert plot["crossed"] == [], plot["name"]


def test_the_overflow_would_be_seen(browser: Any, tmp_path: Path) -> None:
    page = (
        '<!DOCTYPE html><meta charset="utf-8"><h1>x</h1><p style="width:900px">wide</p>'
        '<svg viewBox="0 0 50 50">'
        "<title>t</title><text x='40' y='20'>overflowing text</text>"
        "<text x='42' y='20'>over text</text></svg>"
    )
    [found], _ = browser.measure(page, 360)
    assert found["scroll"] > found["client"]
    assert found["wide"]
    assert found["plots"][0]["out"]
    assert found["plots"][0]["crossed"]


def processes_of(folder: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_a_page_that_never_loads_ends_with_the_deadline_and_leaves_no_process(
    browser: Any, tmp_path: Path
) -> None:
    page = tmp_path / "endless.html"
    page.write_text("<!DOCTYPE html><script>for (;;) {}</script>")
    with pytest.raises(subprocess.TimeoutExpired):
        browser.load(page, 1280, deadline=4)
    end = time.monotonic() + 30
    while processes_of(tmp_path):
        assert time.monotonic() < end, processes_of(tmp_path)
        time.sleep(0.05)
