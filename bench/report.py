"""The tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

__all__ = ["render"]

_KINDS: Final = {"secured": "secured", "plain": "plain", "tls": "TLS"}
_MARK: Final = " *"
_UNSTABLE: Final = (
    "* unstable: the middle half of the samples spans more than 10 % of the median; use a quieter machine"
)


def _number(value: float) -> str:
    """Write a figure with three digits that mean something."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"


def _figures(figures: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        _number(figures["median"]) + (_MARK if figures["unstable"] else ""),
        f"{_number(figures['low'])}-{_number(figures['high'])}",
        f"{_number(figures['minimum'])}-{_number(figures['maximum'])}",
    )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _setup_tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    columns = (
        "method",
        "us per\nsocket",
        "middle\nhalf",
        "min-max",
        "sockets\n/s",
        "of\nctypes",
        "of\nC loop",
    )
    for count in dict.fromkeys(row["sockets"] for row in rows):
        own = [row for row in rows if row["sockets"] == count]
        table = _table(f"Securing {count:,} TCP sockets, {own[0]['us']['count']} repeats", columns)
        for checks in (True, False):
            heading = "all checks" if checks else "effective calls"
            table.add_row(f"[italic]{heading}[/]")
            for row in own:
                if row["checks"] == checks:
                    ratio = row["ratio"]
                    table.add_row(
                        f" {row['title']}",
                        *_figures(row["us"]),
                        f"{row['sockets_per_second']:,.0f}",
                        f"{ratio['ctypes_checked']:.2f}",
                        f"{ratio['floor']:.2f}",
                    )
            table.add_section()
        yield table
    yield (
        "Ratios are of times, to ctypes and to the C loop with all checks: medians over the repeats. "
        "Effective calls: the two policies and the mark."
    )
    many = _pooled(rows, "secure_many", "floor")
    single = _pooled(rows, "secure", "ctypes_checked")
    yield (
        f"Over all sizes and repeats, secure_many takes {many[0]:.2f} of the C loop's time "
        f"({many[1]:.2f} by CPU time), and secure, one by one, {single[0]:.2f} of the time of ctypes with "
        f"the same checks ({single[1]:.2f} by CPU time)."
    )


def _pooled(rows: Sequence[Mapping[str, Any]], method: str, base: str) -> tuple[float, float]:
    """Return the median ratio of a method to a base over all repeats of all sizes, by clock and CPU time."""
    own = [row for row in rows if row["method"] == method]
    clock = [ratio for row in own for ratio in row["ratios"][base]]
    cpu = [ratio for row in own for ratio in row["cpu_ratios"][base]]
    return median(clock), median(cpu)


def _warning(*, instructions: bool) -> str:
    user_space = "OpenSSL in user space has" if instructions else "OpenSSL's is another one"
    return (
        f"This guest's kernel has no accelerated AES, {user_space}: only the ratios of secured to plain mean "
        "something, and only within the guest; do not compare secured with TLS here."
    )


def _traffic_tables(traffic: Mapping[str, Any], *, instructions: bool) -> Iterator[RenderableType]:
    rows = traffic["summary"]
    cipher = next((row["cipher"] for row in rows if row["cipher"]), None)
    where = "in a guest kernel" if traffic["machine"]["guest"] else "on this kernel"
    table = _table(
        f"Traffic between two network namespaces {where} ({traffic['kernel']}, MTU {traffic['mtu']})",
        ("streams", "", "Gbit/s", "middle\nhalf", "min-max", "of\nplain", "connect\nms", "runs"),
    )
    proof = _table(
        "What passed the wire while the sockets were secured",
        (
            "streams",
            "ESP\npackets",
            "clear\npackets",
            "not\nlooked at",
            "payload\nMB",
            "through\nthe SAs, MB",
        ),
    )
    for streams in dict.fromkeys(row["streams"] for row in rows):
        for row in (row for row in rows if row["streams"] == streams):
            table.add_row(
                f"{streams:,}" if row["mode"] == "secured" else "",
                _KINDS[row["mode"]],
                *_figures(row["gbit_per_second"]),
                f"{row['ratio_to_plain']:.3f}",
                _number(row["connect_seconds"]["median"] * 1000),
                str(row["gbit_per_second"]["count"]),
            )
            if row["proof"]:
                seen = row["proof"]
                proof.add_row(
                    f"{streams:,}",
                    f"{seen['esp']:,}",
                    f"{seen['clear']:,}",
                    f"{seen['dropped']:,}",
                    _number(seen["payload_bytes"] / 1e6),
                    _number(seen["sa_bytes"] / 1e6),
                )
        table.add_section()
    yield table
    yield proof
    yield f"Secured: {traffic['sa_algorithm']} by {traffic['aes_driver']}. TLS: {cipher}, by OpenSSL."
    if traffic["machine"]["guest"]:
        yield _warning(instructions=instructions)


def _heading(results: Mapping[str, Any]) -> str:
    machine, versions = results["machine"], results["versions"]
    memory = f"{machine['memory_kib'] / 2**20:.0f} GiB" if machine["memory_kib"] else "unknown memory"
    governor = f", governor {machine['governor']}" if machine["governor"] else ""
    load = machine["load_average"][0]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {memory}{governor}; load {load:.2f}\n"
        f"{machine['system']}, Linux {machine['kernel']}; "
        f"wsasec {versions['wsasec']}, Python {versions['python']}, "
        f"Cython {versions['cython']}, {versions['extension_compiler']}, {versions['openssl']}"
    )


def render(results: Mapping[str, Any], console: Console) -> None:
    """Print the results as tables."""
    parts: list[RenderableType] = [_heading(results)]
    unstable: list[bool] = []
    if "setup" in results:
        parts += _setup_tables(results["setup"]["summary"])
        unstable += [row["us"]["unstable"] for row in results["setup"]["summary"]]
    if "traffic" in results:
        parts += _traffic_tables(results["traffic"], instructions=results["machine"]["aes_instructions"])
        unstable += [row["gbit_per_second"]["unstable"] for row in results["traffic"]["summary"]]
    if any(unstable):
        parts.append(_UNSTABLE)
    parts += [f"Note: {note}" for note in results.get("notes", [])]
    for part in parts:
        console.print()
        console.print(part, highlight=False, markup=not isinstance(part, str))
