"""Pins, written down for the next daemon: the sockets they are for outlast the one that made them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeAlias

from .appended import Appended, open_own
from .associations import Address
from .identities import is_exact
from .programs import Program, reopen

__all__ = ["PinsFile"]

_Key: TypeAlias = tuple[str, Address]
_Owner: TypeAlias = tuple[int, int]  # pid and start
_Line: TypeAlias = tuple[_Key, str | None, _Owner]  # None: the owner has it no more

_SPARE: Final = 1000
"""Lines that say nothing any more, before the file is written anew."""


def _pack(key: _Key, identity: str | None, owner: _Owner) -> bytes:
    return json.dumps([key[0], str(key[1]), identity, *owner]).encode() + b"\n"


def _unpack(line: bytes) -> _Line:
    """Return what a line says. Raises ValueError if it is not as _pack() makes it."""
    try:
        group, address, identity, pid, since = json.loads(line)
    except (TypeError, RecursionError) as error:
        raise ValueError("of another form") from error
    if not all(isinstance(text, str) for text in (group, address, "" if identity is None else identity)):
        raise ValueError("no text")
    if not (type(pid) is type(since) is int and 0 < pid < 1 << 31 and since >= 0):
        raise ValueError("no process")
    if "%" in address or not (identity is None or is_exact(identity)):
        raise ValueError("nobody is pinned so")
    return (group, ip_address(address)), identity, (pid, since)


class PinsFile:
    """A file of lines, each of which gives a program a pin, or takes it away. Thread-safe.

    Attributes:
        left: what an earlier process left and is still needed: who is pinned, and for which programs.
        programs: those, opened; their descriptors are the caller's.
        damaged: how many lines could not be read. The rest counts.
    """

    def __init__(self, path: Path) -> None:
        """Read it, if it is there, and keep what living programs need. Raises OSError."""
        self._path = path
        self._lock = threading.Lock()
        self._pins: dict[_Key, tuple[str, set[_Owner]]] = {}
        self.damaged = self._read()
        opened = self._forget_ended()
        self.programs: list[Program] = list(opened.values())
        self.left: dict[_Key, tuple[str, list[Program]]] = {
            key: (identity, [opened[owner] for owner in owners])
            for key, (identity, owners) in self._pins.items()
        }
        lines = list(self._packed())
        self._file = Appended(path, b"".join(lines))
        self._count(lines)

    def _read(self) -> int:
        try:
            file = open_own(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        damaged = 0
        with os.fdopen(file, "rb") as lines:
            for line in lines.read().splitlines():
                try:
                    self._apply(*_unpack(line))
                except ValueError:
                    damaged += 1
        return damaged

    def _says_new(self, key: _Key, identity: str | None, owner: _Owner) -> bool:
        known, owners = self._pins.get(key, (None, set()))
        return owner in owners if identity is None else owner not in owners or identity != known

    def _apply(self, key: _Key, identity: str | None, owner: _Owner) -> None:
        known, owners = self._pins.get(key, (None, set()))
        if identity is None:
            owners = owners - {owner}
            identity = known
        elif identity == known:
            owners = {*owners, owner}
        else:
            # Nobody else can be pinned as long as one counts: what is known of others could not be taken out.
            owners = {owner}
        self._pins.pop(key, None)
        if identity is not None and owners:
            self._pins[key] = identity, owners

    def _forget_ended(self) -> dict[_Owner, Program]:
        opened: dict[_Owner, Program] = {}
        try:
            for owner in {owner for _, owners in self._pins.values() for owner in owners}:
                program = reopen(*owner)
                if program is not None:
                    opened[owner] = program
        except BaseException:
            for program in opened.values():
                os.close(program.pidfd)
            raise
        alive = {key: (who, owners & opened.keys()) for key, (who, owners) in self._pins.items()}
        self._pins = {key: pin for key, pin in alive.items() if pin[1]}
        return opened

    def _packed(self) -> Iterator[bytes]:
        for key, (identity, owners) in self._pins.items():
            for owner in owners:
                yield _pack(key, identity, owner)

    def _write(self) -> None:
        """Have only lines that count."""
        lines = list(self._packed())
        self._file.rewrite(b"".join(lines))
        self._count(lines)

    def _count(self, lines: list[bytes]) -> None:
        self._lines = len(lines)
        self._most_lines = 2 * len(lines) + _SPARE

    def _note(self, key: _Key, identity: str | None, program: Program) -> None:
        owner = program.pid, program.started
        with self._lock:
            if not self._says_new(key, identity, owner):
                return
            self._file.append(_pack(key, identity, owner))
            self._lines += 1
            self._apply(key, identity, owner)
            if self._lines > self._most_lines:
                with suppress(OSError):  # it is long, and true
                    self._write()

    def add(self, key: _Key, identity: str, program: Program) -> None:
        """Give a program a pin, if it has not got it. Raises OSError: it has not got it."""
        self._note(key, identity, program)

    def remove(self, key: _Key, program: Program) -> None:
        """Take a pin from a program. Raises OSError: it is still there."""
        self._note(key, None, program)

    def close(self) -> None:
        """Leave it to the next, if living programs need something in it. Twice is fine."""
        with self._lock:
            if self._file.closed:
                return
            with suppress(OSError):  # what it has more than it need have, the next finds out
                for program in self._forget_ended().values():
                    os.close(program.pidfd)
                if not self._pins:
                    self._path.unlink(missing_ok=True)
            self._file.close()
