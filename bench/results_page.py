"""The results as a page of the documentation: Markdown, and plots as SVG files beside it.

`python -m wsasec.bench.results_page RESULTS.json docs` writes docs/results.md, docs/setup-cost.svg and so on.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from .html.drawing import standalone
from .html.markup import Element, clean, to_svg
from .html.plots import device_plots, latency_plots, ratio_plots, setup_plots, throughput_plots
from .reading import FormatError, Machine, Results, load, read
from .tables import (
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
from .wording import DEVICE, KEYS, LEAK, LOOPBACK, READING, aes_warning, machine_lines, when

__all__ = ["main", "make"]

PAGE: Final = "results.md"
_WIDTH: Final = 480.0
_OPEN_TABLES: Final = 3
_HTML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# An underscore within a word marks nothing up.
_MARKUP: Final = re.compile(r"([\\`*\[\]|~#])|(?<!\w)_|_(?!\w)")


def _text(words: str) -> str:
    """Write text as Markdown that is nothing but this text, on one line."""
    escaped = _MARKUP.sub(lambda found: "\\" + found[0], " ".join(clean(words).split()))
    return escaped.translate(_HTML)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"### {_text(table.title)}\n"
    yield _row(_text(column) for column in table.columns)
    yield _row(["---", *("---:" for _ in table.columns[1:])])
    for row in table.rows:
        cells = [_text(cell.text) for cell in row]
        heading = len(row) == 1
        yield _row([f"*{cells[0]}*", *("" for _ in table.columns[1:])] if heading else cells)
    yield ""
    for note in table.notes:
        yield f"{_text(note)}\n"


def _folded(tables: Sequence[Table]) -> Iterator[str]:
    """Write many tables so that they take no room before they are asked for."""
    if len(tables) > _OPEN_TABLES:
        yield "<details><summary>All figures of set-up</summary>\n"
    yield from chain(*map(_table, tables))
    if len(tables) > _OPEN_TABLES:
        yield "</details>\n"


def _picture(name: str, plot: Element, plots: dict[str, str]) -> Iterator[str]:
    plots[name] = to_svg(standalone(plot))
    title = _text(plot[0].text or "")
    yield f"![{title}]({name})\n"


def _section(title: str, parts: Iterable[str], warning: str = "") -> Iterator[str]:
    lines = list(parts)
    if lines:
        yield f"## {title}\n"
        if warning:
            yield f"> † {_text(warning)}\n"
        yield from lines


def _about(machines: Iterable[tuple[str, Machine | None]], versions: Mapping[str, str]) -> Iterator[str]:
    for title, machine in machines:
        if machine:
            lines = [f"{name}: {value}" for name, value in machine_lines(machine)]
            yield f"- {title}: {_text('; '.join(lines))}"
    if versions:
        words = ", ".join(f"{name.replace('_', ' ')} {version}" for name, version in versions.items())
        yield f"- versions: {_text(words)}"
    yield ""


def _list(lines: Sequence[str]) -> list[str]:
    return [*(f"- {_text(line)}" for line in lines), ""] if lines else []


def _numbered(name: str, plots: Iterable[Element], files: dict[str, str]) -> Iterator[str]:
    """Write plots to files of their own: name.svg, name-2.svg ..."""
    for i, plot in enumerate(plots, 1):
        yield from _picture(f"{name}.svg" if i == 1 else f"{name}-{i}.svg", plot, files)


def _markdown(results: Results, command: str, files: dict[str, str]) -> Iterator[str]:
    warning = aes_warning(results)
    yield "# Results\n"
    run = ", ".join(part for part in (results.effort and f"{results.effort} run", when(results)) if part)
    yield f"Made from a run of `{command}`{f' ({_text(run)})' if run else ''}; do not edit.\n"
    machines = [("machine", results.machine)]
    guest = results.traffic_machine or results.connect_machine
    if guest and guest.guest:
        machines.append(("guest, for connections and traffic", guest))
    yield from _about(machines, results.versions)
    for words in results.leaks:
        yield f"**{LEAK}:** {_text(words)}\n"
    for part, words in results.errors.items():
        yield f"**{_text(part)} could not be measured:** {_text(words)}\n"
    if results.unreadable:
        yield f"{results.unreadable} rows of the results could not be read, and are left out.\n"
    targets = target_table(results)
    yield from _section("Targets", _table(targets) if targets else ())
    yield from _section(
        "Set-up",
        chain(
            _numbered("setup-cost", setup_plots(results, width=_WIDTH), files),
            _folded(list(setup_tables(results))),
            *map(_table, memory_tables(results)),
        ),
    )
    yield from _section(
        "Beside plain and TLS", _numbered("ratios", ratio_plots(results, width=_WIDTH), files), warning
    )
    yield from _section("Connections", chain(*map(_table, connect_tables(results))), warning)
    yield from _section(
        "Traffic",
        chain(
            _numbered("throughput", throughput_plots(results, width=_WIDTH), files),
            _numbered("latency", latency_plots(results, width=_WIDTH), files),
            *map(_table, traffic_tables(results)),
        ),
        warning,
    )
    yield from _section(KEYS, chain(*map(_table, key_tables(results))))
    yield from _section(
        DEVICE,
        chain(
            _numbered("device-throughput", device_plots(results, width=_WIDTH), files),
            *map(_table, device_tables(results)),
        ),
    )
    yield from _section(LOOPBACK, chain(*map(_table, loopback_tables(results))))
    yield from _section(
        "Notes", [*(f"- {_text(note)}" for note in results.notes), ""] if results.notes else ()
    )
    yield from _section("How to read this", [*(f"- {_text(line)}" for line in READING), ""])


def make(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the page and its plots: names of files and what is in them.

    Raises:
        FormatError: the results are of another format.
    """
    run = read(results)
    files: dict[str, str] = {}
    command = "wsasec bench --full" if run.effort == "full" else "wsasec bench"
    page = "\n".join(_markdown(run, command, files)).rstrip() + "\n"
    return {PAGE: page, **files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page of a results file into a folder. What fails is said on stderr, and 2 returned."""
    parser = argparse.ArgumentParser(
        prog="python -m wsasec.bench.results_page",
        description="Write the page of the results.",
    )
    parser.add_argument("results", type=Path, help="results file")
    parser.add_argument("folder", type=Path, help="where the page and its plots go; must be there")
    wanted = parser.parse_args(arguments)
    try:
        for name, text in make(load(wanted.results)).items():
            (wanted.folder / name).write_text(text, encoding="utf-8")
    except (OSError, FormatError) as error:
        sys.stderr.write(f"wsasec bench: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
