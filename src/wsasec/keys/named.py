"""Sockets with names."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from ..config.model import KeyProfile
from .associations import Address
from .names import Name
from .pins import PinKey
from .programs import Program

__all__ = ["Named", "NamedSocket", "PeerName", "TooManyNamesError"]

NAMES_OF_A_PROGRAM = 65536


class TooManyNamesError(Exception):
    """A program has as many names as it may, none of which was verified."""


@dataclass(eq=False, slots=True)
class PeerName:
    """A name that a peer of a socket must have.

    Attributes:
        name: the name.
        optional: whether another identity is no failure.
        program: whose it is.
        verified: the address at which it was found; None: not yet, or not any more.
        pin: which it holds.
        gone: it was deleted, or its program has ended.
    """

    name: Name
    optional: bool
    program: Program
    verified: Address | None = None
    pin: PinKey | None = None
    gone: bool = False


@dataclass(eq=False, slots=True)
class NamedSocket:
    """A socket and its names. To be looked at and changed with its lock held.

    Attributes:
        profile: the socket's.
        family: its address family.
        names: by the peer's address; of stream sockets one, under None. Programs end without the lock: a
            copy is to be gone through.
        due: those of the names that are not verified, and where.
        missing: those of them that must be.
        shut: whether it was shut here and not opened again.
        lock: held while one is verified.
    """

    profile: KeyProfile
    family: int
    names: dict[Address | None, PeerName] = field(default_factory=dict)
    due: dict[PeerName, Address | None] = field(default_factory=dict)
    missing: set[PeerName] = field(default_factory=set)
    shut: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def may_send(self) -> bool:
        """Whether every name that must be verified is."""
        return not self.missing

    def found(self, name: PeerName, at: Address | None, peer: Address | None) -> None:
        """Note where a name that it has under an address was verified; None: it is not."""
        name.verified = peer
        if peer is None:
            self.due[name] = at
            if not name.optional:
                self.missing.add(name)
        if peer is not None or self.names.get(at) is not name:  # it was taken away meanwhile
            self.settled(name)

    def settled(self, name: PeerName) -> None:
        """Nothing is due of a name any more."""
        self.due.pop(name, None)
        self.missing.discard(name)


_Names: TypeAlias = OrderedDict[PeerName, tuple[int, Address | None]]
"""Names with their socket's cookie, and where, the oldest first."""


class Named:
    """All of them, by the sockets' cookies. Thread-safe.

    The daemon is not told when a socket is closed. What a program leaves of names that were verified is
    therefore forgotten when it has too many, the oldest first; their pins stay until it ends. A socket that
    is shut and not known here stays shut.
    """

    def __init__(self, limit: int = NAMES_OF_A_PROGRAM) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._sockets: dict[int, NamedSocket] = {}
        self._programs: dict[Program, _Names] = {}

    def get(self, cookie: int) -> NamedSocket | None:
        """Return a socket that has names."""
        with self._lock:
            return self._sockets.get(cookie)

    def socket(self, cookie: int, profile: KeyProfile, family: int) -> NamedSocket:
        """Return a socket, known from now on."""
        with self._lock:
            return self._sockets.setdefault(cookie, NamedSocket(profile, family))

    def add(self, cookie: int, sock: NamedSocket, at: Address | None, name: PeerName) -> PeerName | None:
        """Give a socket, whose lock is held, a name; return that which it replaces.

        Raises:
            TooManyNamesError: the program has too many.
        """
        with self._lock:
            names = self._programs.setdefault(name.program, OrderedDict())
            if len(names) >= self._limit:
                self._forget_oldest(names)
            names[name] = cookie, at
            # Names of another program may have been its last, and gone.
            self._sockets[cookie] = sock
            before = sock.names.get(at)
            if before is not None:
                self._remove(before)
                sock.settled(before)
            sock.names[at] = name
            sock.found(name, at, name.verified)
            return before

    def delete(self, cookie: int, at: Address | None) -> PeerName | None:
        """Take a name from a socket, whose lock is held, and return it; None if there is none."""
        with self._lock:
            sock = self._sockets.get(cookie)
            found = sock.names.pop(at, None) if sock else None
            if sock is not None and found is not None:
                sock.settled(found)
                self._remove(found)
            return found

    def forget_if_nameless(self, cookie: int) -> None:
        """Forget a socket that has no names any more."""
        with self._lock:
            sock = self._sockets.get(cookie)
            if sock is not None and not sock.names:
                del self._sockets[cookie]

    def program_ended(self, program: Program) -> None:
        """Forget a program's names; its sockets that are shut stay so."""
        with self._lock:
            for name, (cookie, at) in self._programs.pop(program, {}).items():
                name.gone = True
                self._take(cookie, at, name)

    def programs(self) -> dict[Program, int]:
        """Return how many names each program has."""
        with self._lock:
            return {program: len(names) for program, names in self._programs.items()}

    def _remove(self, name: PeerName) -> None:
        name.gone = True
        names = self._programs.get(name.program)
        if names is not None:
            names.pop(name, None)
            if not names:
                del self._programs[name.program]

    def _take(self, cookie: int, at: Address | None, name: PeerName) -> None:
        sock = self._sockets.get(cookie)
        if sock is not None and sock.names.get(at) is name:
            del sock.names[at]
            sock.settled(name)
            if not sock.names:
                del self._sockets[cookie]

    def _forget_oldest(self, names: _Names) -> None:
        for name, (cookie, at) in names.items():
            if name.verified is not None or name.optional:
                del names[name]
                self._take(cookie, at, name)
                return
        raise TooManyNamesError
