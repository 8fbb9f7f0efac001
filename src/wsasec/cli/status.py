"""`wsasec status`: peers, their associations, and what went wrong."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ._daemon import add_verb

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    from ..daemon.client import Client

__all__ = ["add", "render"]

_DESCRIPTION: Final = """\
Show the key daemon of this network namespace: peers and who they are, security associations with their
algorithms, bytes and ages, and the last errors. Exit code 1 if it is not up.
"""
_EVERY_SECONDS: Final = 1.0
_WIDTH: Final = 160


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    verb = add_verb(subparsers, "status", "peers, associations and errors", _DESCRIPTION, _run)
    if sys.platform != "win32":
        how = verb.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="for programs")
        how.add_argument("--watch", action="store_true", help="go on, until Ctrl-C")


def _run(arguments: argparse.Namespace) -> int:
    from ..daemon.client import Client

    with Client() as client:
        status = client.control("status")
        if arguments.json:
            print(json.dumps(status, indent=2))
            return 0
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDTH)  # whoever reads it looks for whole words
        if arguments.watch:
            _watch(client, status, console)
        console.print(render(status))
    return 0


def _watch(client: Client, status: dict[str, Any], console: Console) -> NoReturn:
    """Show it again and again, until the daemon goes away or Ctrl-C.

    A terminal has it in one place; whatever else reads gets one after the other, as each is told.
    """
    from rich.live import Live

    if not console.is_terminal:
        while True:
            console.print(render(status))
            time.sleep(_EVERY_SECONDS)
            status = client.control("status")
    with Live(render(status), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_EVERY_SECONDS)
            live.update(render(client.control("status")), refresh=True)


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def render(status: dict[str, Any]) -> Group:
    """Make what is shown of the daemon's answer.

    What peers say of themselves is text here, never markup.
    """
    from rich.console import Group
    from rich.text import Text

    charon = status["charon"]
    if charon["shared"]:
        ike = f"charon of others at {charon['shared']}" + ("" if charon["alive"] else " does not answer")
    else:
        ike = f"charon {charon['pid']}" if charon["alive"] else "charon does not run"
    age = _time(int(time.time() - status["since"]))
    head = f"wsasec {status['version']}: up, pid {status['pid']}, since {age}; {ike}"
    if charon["restarts"]:
        head += f", started again {charon['restarts']} times"
    parts: list[Any] = [Text(head, style="bold" if charon["alive"] else "bold red")]
    parts.append(
        Text(
            f"{status['config']}: profiles "
            + ", ".join(f"{each['name']} as {each['identity']}" for each in status["profiles"])
        )
    )
    if status.get("engine"):
        parts.append(_engine(status["engine"]))
    if charon["trouble"]:
        parts.append(Text(charon["trouble"], style="red"))
    parts.append(_peers(status["peers"]) if status["peers"] else Text("no peers"))
    for error in status["errors"]:
        when = time.strftime("%H:%M:%S", time.localtime(error["when"]))
        detail = f": {error['detail']}" if error["detail"] else ""
        parts.append(
            Text(f"{when} {error['address']} ({error['profile']}): {error['reason']}{detail}", style="yellow")
        )
    return Group(*parts)


def _engine(engine: dict[str, Any]) -> Text:
    """Make the line of the engine and its devices."""
    from rich.text import Text

    line = f"engine {engine['pid']}" if engine["alive"] else "the engine does not run"
    if engine.get("crypto"):
        line += f" ({engine['crypto']}, {engine['threads']} threads each way)"
    if engine["restarts"]:
        line += f", started again {engine['restarts']} times"
    faults = [
        f"{device['name']} is not secure: {'; '.join(device['faults'])}"
        for device in engine["devices"]
        if device["faults"]
    ]
    line += ": " + ", ".join(f"{device['name']} for {device['profile']}" for device in engine["devices"])
    for trouble in (engine["trouble"], *faults):
        line += f"\n{trouble}" if trouble else ""
    return Text(line, style="" if engine["alive"] and not faults else "red")


def _peers(peers: list[dict[str, Any]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("peer", "identity"):
        table.add_column(name, no_wrap=True)
    for name in ("profile", "SPIs in, out", "algorithms"):
        table.add_column(name, overflow="fold")
    for name in ("in", "out", "age", "rekey in"):
        table.add_column(name, justify="right", no_wrap=True)
    for peer in peers:
        first = (peer["address"], peer["identity"])
        for one in peer["associations"]:
            rest = (one["profile"], f"{one['spi_in'][2:]} {one['spi_out'][2:]}")
            algorithms = f"{one['protocol']} {one['algorithms']}{' ESN' if one['esn'] else ''}"
            numbers = (
                _bytes(one["bytes_in"]),
                _bytes(one["bytes_out"]),
                _time(one["age"]),
                _time(one["rekey_in"]),
            )
            table.add_row(*(Text(word) for word in (*first, *rest, algorithms, *numbers)))
            first = ("", "")
        if not peer["associations"]:
            table.add_row(*(Text(word) for word in (*first, peer["state"].lower())))
    return table
