"""The page: what stands where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ..reading import Machine, Results, read
from ..tables import (
    Table,
    connect_tables,
    device_tables,
    key_tables,
    loopback_tables,
    memory_tables,
    setup_tables,
    target_table,
    traffic_tables,
)
from ..wording import DEVICE, KEYS, LEAK, LOOPBACK, READING, aes_warning, machine_lines, when
from .markup import Element, add, element, to_html
from .palette import plot_css
from .plots import device_plots, latency_plots, ratio_plots, setup_plots, throughput_plots

__all__ = ["render", "write"]

# Even if some text became markup, nothing could run or be fetched.
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
_MAIN: Final = (
    ("wsasec", "wsasec"),
    ("python", "Python"),
    ("openssl", ""),
)  # its version begins with its name
_OPEN_TABLES: Final = 3


def _css() -> str:
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8") + plot_css()


def _list(pairs: Iterable[tuple[str, str]]) -> Element:
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs)
    )


def _table(table: Table, *, folded: bool = False) -> Element:
    head = element("tr", *(element("th", column, scope="col") for column in table.columns))
    body = element("tbody")
    for row in table.rows:
        if len(row) == 1:
            heading = element("th", row[0].text, scope="colgroup", colspan=str(len(table.columns)))
            body.append(element("tr", heading, class_="group"))
            continue
        cells = [element("th", row[0].text, scope="row")]
        cells += [
            element("td", cell.text, **({"class_": cell.tone} if cell.tone else {})) for cell in row[1:]
        ]
        body.append(element("tr", *cells))
    grid = element("table", element("thead", head), body)
    box = element(
        "div", grid, class_="scroll", role="region", tabindex="0", aria_label=table.title or "Targets"
    )
    notes = [element("p", note, class_="note") for note in table.notes]
    if not table.title:
        return element("div", box, *notes)
    if not folded:
        return element("div", element("h3", table.title), box, *notes)
    return element("details", element("summary", table.title), box, *notes)


def _figures(plots: Iterable[Element], note: str = "") -> Iterator[Element]:
    found = [element("figure", plot) for plot in plots]
    if found:
        yield element("div", *found, class_="figures")
        if note:
            yield element("p", note, class_="note")


def _section(name: str, title: str, parts: Sequence[Element]) -> Element | None:
    return element("section", element("h2", title), *parts, id=name) if parts else None


def _machine(title: str, machine: Machine | None) -> list[Element]:
    lines = machine_lines(machine) if machine else []
    return [element("div", element("h3", title), _list(lines), class_="card")] if lines else []


def _about(results: Results) -> list[Element]:
    cards = _machine("Machine", results.machine)
    kernel = results.traffic_machine or results.connect_machine
    if kernel and kernel.guest:
        cards += _machine("Guest, for connections and traffic", kernel)
    wire = [
        ("MTU", "" if results.mtu is None else str(results.mtu)),
        ("secured by", results.sa_algorithm),
        ("AES by", results.aes_driver),
        ("kernel", results.traffic_kernel),
    ]
    wire = [(name, value) for name, value in wire if value]
    if wire:
        cards.append(element("div", element("h3", "Traffic"), _list(wire), class_="card"))
    versions = [(name.replace("_", " "), version) for name, version in results.versions.items()]
    if versions:
        cards.append(element("div", element("h3", "Versions"), _list(versions), class_="card"))
    return [element("div", *cards, class_="cards")] if cards else []


def _summary(results: Results) -> str:
    states = [target.met for target in results.targets]
    parts = [f"{states.count(True)} of {len(states)} targets met"]
    parts += [f"{states.count(False)} not met"] if False in states else []
    parts += [f"{states.count(None)} not measured"] if None in states else []
    return ", ".join(parts) + "."


def _targets(results: Results) -> list[Element]:
    table = target_table(results)
    return [element("p", _summary(results)), _table(table)] if table else []


def _setup(results: Results) -> list[Element]:
    tables = list(setup_tables(results))
    # All rows of a long list would hide what comes below.
    folded = len(tables) > _OPEN_TABLES
    return [
        *_figures(setup_plots(results)),
        *(_table(table, folded=folded) for table in tables),
        *(_table(table) for table in memory_tables(results)),
    ]


def _warned(parts: list[Element], warning: str) -> list[Element]:
    return (
        [element("p", element("strong", "† "), warning, class_="warning"), *parts]
        if parts and warning
        else parts
    )


def _problems(results: Results) -> list[Element]:
    lines = [f"{LEAK}: {words}" for words in results.leaks]
    lines += [f"{part} could not be measured: {words}" for part, words in results.errors.items()]
    proven = (*results.throughput, *results.device.throughput)
    clear = sum(row.proof.get("clear", 0) for row in proven if row.proof)
    if clear:
        lines.append(f"{clear:,.0f} packets of secured sockets were in clear.")
    if results.unreadable:
        lines.append(f"{results.unreadable} rows of the results could not be read, and are left out.")
    return [element("ul", *(element("li", line) for line in lines), class_="problems")] if lines else []


def _heading(results: Results) -> Element:
    effort = f"{results.effort} run" if results.effort else ""
    line = ", ".join(part for part in (effort, when(results)) if part)
    header = element("header", element("h1", "wsasec benchmark"))
    machine = "; ".join(value for _, value in machine_lines(results.machine)[:3]) if results.machine else ""
    programs = ", ".join(
        f"{title} {results.versions[name]}".strip() for name, title in _MAIN if name in results.versions
    )
    return add(header, *(element("p", words, class_="when") for words in (line, machine, programs) if words))


def _sections(results: Results) -> Iterator[tuple[str, str, list[Element]]]:
    warning = aes_warning(results)
    # The plot has a † where the table below has one.
    yield "targets", "Targets", _targets(results)
    yield "ratios", "Beside plain and TLS", _warned(list(_figures(ratio_plots(results))), warning)
    yield "setup", "Set-up", _setup(results)
    latency = list(latency_plots(results))
    connecting = [plot for plot in latency if plot.attrib["aria-labelledby"].startswith("connect")]
    tables = [_table(table) for table in connect_tables(results)]
    yield "connect", "Connections", _warned([*_figures(connecting), *tables], warning)
    plots = [*throughput_plots(results), *(plot for plot in latency if plot not in connecting)]
    tables = [_table(table) for table in traffic_tables(results)]
    yield "traffic", "Traffic", _warned([*_figures(plots), *tables], warning)
    yield "keys", KEYS, [_table(table) for table in key_tables(results)]
    plots = list(device_plots(results))
    yield "device", DEVICE, [*_figures(plots), *(_table(table) for table in device_tables(results))]
    yield "loopback", LOOPBACK, [_table(table) for table in loopback_tables(results)]
    yield (
        "notes",
        "Notes",
        [element("ul", *(element("li", note) for note in results.notes))] if results.notes else [],
    )
    yield "reading", "How to read this", [element("ul", *(element("li", line) for line in READING))]
    yield "machine", "Measured on", _about(results)


def render(results: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        results: as in a results file; what is missing is left out.

    Raises:
        FormatError: they are of another format.
    """
    run = read(results)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", "wsasec benchmark"),
        element("style", _css()),
    )
    parts = [(name, title, _section(name, title, found)) for name, title, found in _sections(run)]
    links = [element("a", title, href=f"#{name}") for name, title, part in parts if part is not None]
    main = element("main", *(part for _, _, part in parts if part is not None))
    body = element(
        "body", _heading(run), *_problems(run), element("nav", *links, aria_label="Sections"), main
    )
    return to_html(element("html", head, body, lang="en"))


def write(results: Mapping[str, Any], path: Path) -> None:
    """Write the page to a file.

    Raises:
        FormatError: the results are of another format.
        OSError: the file cannot be written.
    """
    path.write_text(render(results), encoding="utf-8")
