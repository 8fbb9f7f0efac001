"""The tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table as Drawn
from rich.text import Text

from .reading import Results, read
from .tables import (
    Cell,
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
from .wording import CLOCKS, LEAK, aes_warning, machine_lines

__all__ = ["draw", "render"]

_TONES: Final = {"good": "green", "bad": "bold red", "warn": "yellow"}


def _cell(cell: Cell) -> Text:
    return Text(cell.text, style=_TONES.get(cell.tone, ""))


def draw(table: Table) -> Drawn:
    """Make a table of what is to stand in one."""
    drawn = Drawn(
        title=table.title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if i else "left")
    for row in table.rows:
        if len(row) < len(table.columns):
            drawn.add_row(Text(row[0].text, style="italic"))
        else:
            drawn.add_row(*map(_cell, row))
    return drawn


def _tables(rows: Results) -> Iterator[Table]:
    yield from setup_tables(rows)
    yield from memory_tables(rows)
    yield from loopback_tables(rows)
    yield from connect_tables(rows)
    yield from traffic_tables(rows)
    yield from key_tables(rows)
    yield from device_tables(rows)
    if table := target_table(rows):
        yield table


def _parts(results: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = read(results)
    if rows.machine is not None:
        yield Text("\n".join(f"{name}: {value}" for name, value in machine_lines(rows.machine)))
        yield Text(", ".join(f"{name} {value}" for name, value in rows.versions.items()), style="dim")
    if (rows.connect or rows.throughput) and (warning := aes_warning(rows)):
        yield Text(f"\nTLS beside secured traffic: {warning}")
    if rows.setup:
        yield Text(f"\n{CLOCKS}")
    for table in _tables(rows):
        yield draw(table)
        yield from (Text(note) for note in table.notes)
    yield from (Text(f"Note: {note}") for note in rows.notes)
    yield from (Text(f"{part} could not be measured: {words}", "red") for part, words in rows.errors.items())
    yield from (Text(f"{LEAK}: {words}", "bold red") for words in rows.leaks)


def render(results: Mapping[str, Any], console: Console) -> None:
    """Print the results as tables, the targets last."""
    for part in _parts(results):
        if isinstance(part, Drawn):
            console.print()
        console.print(part, highlight=False)
