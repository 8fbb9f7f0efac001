"""The report as text: what is in it, and that text from the results cannot be more than text."""

import copy
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsasec.bench.html import render, write
from wsasec.bench.reading import FormatError, read

Results = dict[str, Any]
SAMPLE: Results = json.loads(Path(__file__).parent.with_name("sample.json").read_text())
FETCHING = {
    "src",
    "srcset",
    "data",
    "action",
    "formaction",
    "poster",
    "background",
    "ping",
    "manifest",
    "xlink:href",
}
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "div",
        "figure",
    ),
    *("h1", "h2", "h3", "p", "a", "ul", "li", "dl", "dt", "dd", "strong", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "desc", "g", "rect", "path", "text"),
}


class Page(HTMLParser):
    """The elements of a page, and the text outside of its style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] != "style":
            self.text += " " + data


def few(results: Results) -> Results:
    """Return a copy with a row or two of each sort, which takes less time."""
    results = copy.deepcopy(results)
    results["setup"]["summary"] = results["setup"]["summary"][:3]
    for part, rows in (
        ("connect", "summary"),
        *(("traffic", n) for n in ("throughput", "latency", "datagrams")),
    ):
        results[part][rows] = results[part][rows][:2]
        for row in results[part][rows]:
            if row.get("latency_us"):
                row["latency_us"]["buckets"] = row["latency_us"]["buckets"][:4]
    return results


FEW = few(SAMPLE)


@pytest.fixture
def results() -> Results:
    return copy.deepcopy(SAMPLE)


def check(page: str) -> Page:
    found = Page(page)
    assert set(found.tags) <= TAGS
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name not in FETCHING
        if name in {"d", "x", "y", "width", "height", "viewbox"}:
            assert not re.search("nan|inf|e", value or "")
        if name == "href":
            assert value
            assert value == "data:," or re.fullmatch(r"#[a-z]+", value)
    return found


def test_what_is_on_the_page(results: Results) -> None:
    page = check(render(results))
    text = " ".join(page.text.split())
    for expected in (
        "wsasec benchmark",
        "full run, 2026-03-01 10:00, 10 min 41 s",
        "2.50GHz, 2 cores; 7.76 GiB; Debian GNU/Linux 12 (bookworm), Linux 6.18.44",
        "wsasec 0.2.0, Python 3.11.2, OpenSSL 3.0.17 1 Jul 2025",
        "9 of 11 targets met, 1 not met, 1 not measured.",
        "✓ met, unstable",
        "✓ met 1.04: 1,000 UDP, IPv4",
        "✗ met in 1 of 3 cases 2.31: 64 connections, 64 bytes",
        "Microseconds a socket are by the clock.",
        "5,802 (5,770–5,830)",  # noqa: RUF001
        "Cost of set-up: TCP, IPv4",
        "Cost of set-up: UDP, IPv6",
        "secure_many, io_uring",
        "Throughput by streams, messages of 4 KiB",
        "Latency of requests, 64 connections, 64 bytes",
        "Latency of connecting, 1,000 connections",
        "Secured as a part of plain and of TLS",
        "clear packets",
        "Intel(R) Xeon(R) Processor @ 2.50GHz, 2 cores",
        "Linux 6.18.44",
        "OpenSSL 3.0.17 1 Jul 2025",
        "How to read this",
        results["notes"][0],
    ):
        assert expected in text
    assert page.tags.count("svg") == 11
    assert ("name", "viewport") in page.attributes
    assert ("name", "color-scheme") in page.attributes


def test_loopback_has_a_section_of_its_own(results: Results) -> None:
    sections = re.findall(r"<section.*?</section>", render(results), re.DOTALL)
    [loopback] = [section for section in sections if "this kernel's loopback device" in section]
    assert loopback.startswith('<section id="loopback"><h2>Loopback of this kernel</h2>')
    assert "accelerated" not in loopback


def test_what_was_not_protected_is_at_the_top(results: Results) -> None:
    results["leaks"] = ["throughput: 3 packets"]
    page = render(results)
    check(page)
    words = "NOT PROTECTED, or not proven to be: throughput: 3 packets"
    assert 0 < page.index(words) < page.index("<main>")


def test_a_figure_with_its_spread(results: Results) -> None:
    row = results["setup"]["summary"][0]
    row["us"] = {"median": 4.1, "low": 4.0, "high": 4.56, "minimum": 3.9, "maximum": 123.4, "count": 5}
    row["us"]["unstable"] = True
    text = " ".join(Page(render(results)).text.split())
    assert "4.10 (4.00–4.56) *" in text  # noqa: RUF001
    assert "3.90–123" in text  # noqa: RUF001
    assert "* unstable: the middle half" in text


def warnings(results: Results) -> int:
    return " ".join(Page(render(results)).text.split()).count("has no accelerated AES; TLS, in user space,")


def test_ratios_to_tls_are_never_without_the_warning(results: Results) -> None:
    assert warnings(results) == 4  # targets, ratios, connections, traffic
    text = " ".join(Page(render(results)).text.split())
    for expected in ("has the processor's AES instructions", "to TLS †", "of TLS †", "handshakes †"):
        assert expected in text
    results["machine"]["aes_instructions"] = False
    assert "has OpenSSL's, which is another one" in Page(render(results)).text


def test_no_warning_where_the_kernel_has_accelerated_aes(results: Results) -> None:
    for part in ("traffic", "connect"):
        results[part]["machine"] = results["machine"]
    results["traffic"]["aes_driver"] = "rfc4106-gcm-aesni"
    page = render(results)
    assert "†" not in page
    assert "accelerated" not in page
    results["traffic"]["aes_driver"] = "rfc4106(gcm_base(ctr(aes-generic),ghash-generic))"
    assert "This kernel has no accelerated AES (rfc4106(gcm_base" in render(results)


def test_plots_have_text_alternatives(results: Results) -> None:
    page = render(results)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    names = set()
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.get("role") == "img"
        title, description = root[0], root[1]
        assert (title.tag, description.tag) == ("title", "desc")
        assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text
        assert re.search(r"\d", description.text or "")
        names |= {title.get("id"), description.get("id")}
    assert len(names) == 2 * len(plots) == 22


def test_packets_in_clear_are_at_the_top(results: Results) -> None:
    assert "problems" not in dict(check(render(results)).attributes).values()
    proven = next(row for row in results["traffic"]["throughput"] if row["proof"])
    proven["proof"]["clear"] = 3
    page = render(results)
    assert "3 packets of secured sockets were in clear." in page
    assert page.index("were in clear.") < page.index("<main>")
    assert '<td class="bad">3</td>' in page


def test_errors_are_at_the_top(results: Results) -> None:
    del results["traffic"]
    results["errors"] = {"traffic": "the guest did not boot"}
    page = render(results)
    assert "traffic could not be measured: the guest did not boot" in page
    assert "Throughput" not in Page(page).text


@pytest.mark.parametrize(
    "part", ["setup", "connect", "traffic", "targets", "machine", "versions", "notes", "errors"]
)
def test_a_part_alone_and_all_but_it(results: Results, part: str) -> None:
    check(render({"format": results["format"], part: results[part]}))
    del results[part]
    check(render(results))


def test_nothing_but_the_format() -> None:
    page = check(render({"format": "wsasec-bench/2"}))
    assert "svg" not in page.tags
    assert "table" not in page.tags


def test_set_up_alone_has_no_word_of_traffic(results: Results) -> None:
    names = ("format", "machine", "versions", "setup")
    text = Page(render({name: results[name] for name in names})).text
    assert "Cost of set-up" in text
    assert "accelerated" not in text


@pytest.mark.parametrize("format_", ["wsasec-bench/1", None, 2, "", "wsasec-bench/22"])
def test_another_format_is_refused(results: Results, format_: object) -> None:
    results["format"] = format_
    with pytest.raises(FormatError, match=r"not 'wsasec-bench/2'"):
        render(results)
    with pytest.raises(FormatError):
        render({})


def test_rows_that_cannot_be_read_are_counted(results: Results) -> None:
    del results["setup"]["summary"][0]["us"]["median"]
    results["traffic"]["latency"][0]["latency_us"] = None
    results["targets"].append("nothing")
    assert read(results).unreadable == 3
    assert "3 rows of the results could not be read" in render(results)


def test_the_file(results: Results, tmp_path: Path) -> None:
    results["notes"] = ["\ud800 \x00 \x1b[31m µ"]
    write(results, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_bytes().decode("utf-8")
    assert text == render(results)
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert "\x1b" not in text
    assert "\x00" not in text
    with pytest.raises(OSError):
        write(results, tmp_path / "none" / "r.html")


hostile = st.one_of(
    st.text(),
    st.text(st.sampled_from("<>&\"'/=-![]; \t\n\x00\ud800abcsvgript")),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</style></title></svg></td></table><img src=x onerror=alert(1)>",
            '" onload="alert(1)',
            "<!--",
            "-->]]><![CDATA[",
            "&lt;script&gt;&#60;b&#62;",
            "http://example.org/",
        ]
    ),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=4,
)


def places(value: object, *path: object) -> Iterator[tuple[object, ...]]:
    """Yield the ways to all that is within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from places(child, *path, key)


PLACES = [path for path in places(FEW) if path != ("format",)]
TEXTS = [
    ("targets", 0, "name"),
    ("notes", 0),
    ("machine", "cpu"),
    ("versions", "python"),
    ("errors", "setup"),
]
TEXTS += [("setup", "summary", 1, "title"), ("setup", "memory", 0, "what"), ("setup", "memory", 0, "note")]
TEXTS += [("traffic", "aes_driver"), ("traffic", "sa_algorithm"), ("effort",), ("machine", "governor")]
TEXTS += [("machine", "congestion_control")]


def replaced(path: tuple[Any, ...], value: object) -> Results:
    results = copy.deepcopy(FEW)
    results["errors"] = {"setup": "x"}
    inner: Any = results
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return results


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(TEXTS), hostile)
def test_no_text_becomes_markup(path: tuple[Any, ...], text: str) -> None:
    page = check(render(replaced(path, f"x{text}")))
    innocent = check(render(replaced(path, "x")))
    # A long text may take a second line in a plot, and a driver's name may call for the warning.
    alike = [[tag for tag in one.tags if tag not in ("text", "p", "strong")] for one in (page, innocent)]
    assert alike[0] == alike[1]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(PLACES), anything)
def test_whatever_the_results_hold_the_page_is_made(path: tuple[Any, ...], value: object) -> None:
    check(render(replaced(path, value)))


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(sorted(FEW)), anything))
def test_results_of_anything(results: Results) -> None:
    check(render({**results, "format": "wsasec-bench/2"}))
