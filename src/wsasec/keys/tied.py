"""Connections that are tied to their associations: aborted when an id that was asked for changes."""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from ..kernel.sockdiag import TcpConnection, TcpTable
from .associations import Address, Event
from .known import PROVEN, Known
from .pairs import Sas, unscoped
from .reason import CharonError, Reason
from .ties_file import TiesFile
from .verdict import Verdict, failed

__all__ = ["NOTHING", "Ids", "Route", "Tied"]

_log = logging.getLogger(__name__)

CONNECTIONS: Final = 1 << 16
_FIRST_SWEEP: Final = 256
_CHARON_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Route:
    """What an association is looked for by.

    Attributes:
        reqid: of the profile.
        own: this host's address.
        peer: the peer's.
    """

    reqid: int
    own: Address
    peer: Address


@dataclass(frozen=True, slots=True)
class Ids:
    """Numbers of an association; None for one that does not matter.

    Attributes:
        main: charon's number of the IKE SA.
        quick: charon's number of the pair of SAs.
    """

    main: int | None
    quick: int | None

    def hold(self, now: Ids) -> bool:
        """Whether those that matter are what they are now."""
        return self.main in (None, now.main) and self.quick in (None, now.quick)


NOTHING: Final = Ids(None, None)


@dataclass(frozen=True, slots=True)
class _Tie:
    connection: TcpConnection
    route: Route
    ids: Ids


class Heard(Protocol):
    """What `changes.Changes` has."""

    def fileno(self) -> int:
        """Return what is readable when there is something to read()."""

    def read(self) -> set[Address] | None:
        """Return addresses between which SAs have changed; None: it may be any."""

    def close(self) -> None:
        """Close it."""


class Tied:
    """All of them. A thread looks at them whenever charon or the kernel tells of a change. Thread-safe.

    The daemon is not told when a connection ends: those that are gone are looked for, and forgotten, when
    there are twice as many as the last look has left.
    """

    def __init__(
        self,
        sas: Sas,
        known: Known,
        table: TcpTable,
        heard: Heard,
        file: TiesFile | None = None,
        limit: int = CONNECTIONS,
    ) -> None:
        """Describe it; table, heard and file are its own from now on.

        Args:
            sas: the kernel's.
            known: who made them.
            table: the kernel's connections.
            heard: tells of the kernel's changes.
            file: what is left if this process is killed; None: nothing.
            limit: how many connections at most.
        """
        self._sas = sas
        self._known = known
        self._table = table
        self._heard = heard
        self._file = file
        self._limit = limit
        self._lock = threading.Lock()
        self._ties: dict[int, _Tie] = {}
        self._doomed: dict[int, TcpConnection] = {}  # to be aborted, whatever is the case now
        self._due: set[Address] = set()  # peers whose connections are to be looked at
        self._all_due = False
        self._sweep_at = min(_FIRST_SWEEP, limit)
        self._closed = False
        self._refused = False  # the kernel did, the last time: said once
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="wsasec-tied", daemon=True)

    def __len__(self) -> int:
        return len(self._ties)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    # What is asked for

    def possible(self, connection: TcpConnection | None) -> Verdict:
        """Whether a connection could be aborted. Raises OSError."""
        if connection is None:
            return failed(Reason.NO_ABORT, "it is no TCP connection")
        if self._table.can_destroy(connection):
            return Verdict()
        return failed(Reason.NO_ABORT, "the kernel has no CONFIG_INET_DIAG_DESTROY, or no tcp_diag")

    def tie(self, connection: TcpConnection, route: Route, ids: Ids) -> Verdict:
        """Have a connection aborted as soon as one of these ids is not that of its association any more.

        A connection that is tied already is tied to these ids, too.

        Raises:
            OSError: it cannot be written down, and is not tied.
        """
        with self._lock:
            if self._closed:
                return failed(Reason.NO_CHARON, "the key daemon ends")
            full = len(self._ties) >= self._sweep_at and connection.cookie not in self._ties
        if full and not self._sweep():
            return failed(Reason.DAEMON_BUSY, "too many connections are tied to their associations")
        with self._lock:
            if self._closed:
                return failed(Reason.NO_CHARON, "the key daemon ends")
            before = self._ties.get(connection.cookie)
            if before is None:
                self._write_down(connection)
            else:
                main = ids.main if before.ids.main is None else before.ids.main
                quick = ids.quick if before.ids.quick is None else before.ids.quick
                ids = Ids(main, quick)
            tie = self._ties[connection.cookie] = _Tie(connection, route, ids)
        # What changed between the answer and this was told before there was anything to look at.
        self._look([tie])
        return Verdict()

    def _write_down(self, connection: TcpConnection) -> None:
        if self._file is None:
            return
        if self._file.records >= _FIRST_SWEEP + 2 * len(self._ties):
            self._file.keep(tie.connection for tie in self._ties.values())
        self._file.add(connection)

    def _sweep(self) -> bool:
        """Forget connections that are gone; tell whether there is room."""
        with self._lock:
            ties = list(self._ties.values())
        for tie in ties:
            with suppress(OSError):  # it stays: it may be there
                if not self._table.has(tie.connection):
                    self._forget(tie.connection.cookie)
        with self._lock:
            self._sweep_at = min(max(_FIRST_SWEEP, 2 * len(self._ties)), self._limit)
            return len(self._ties) < self._sweep_at

    def _forget(self, cookie: int) -> None:
        with self._lock:
            self._ties.pop(cookie, None)
            self._doomed.pop(cookie, None)

    # What happens

    def happened(self, event: Event) -> None:
        """Hear of an event of charon's, of which Known has taken note."""
        if event.kind == "gone":
            # The next charon begins to number anew: what is tied now must not be taken for its own.
            self._doom_all()
        elif event.kind == "ike-update" or event.ike is None:
            self._look_at(None)
        else:
            self._look_at({event.ike.remote})

    def _doom_all(self) -> None:
        with self._lock:
            self._doomed |= {cookie: tie.connection for cookie, tie in self._ties.items()}
            self._awake()

    def _look_at(self, peers: set[Address] | None) -> None:
        """Have the connections with some peers looked at; None: all."""
        with self._lock:
            self._all_due = self._all_due or peers is None
            self._due |= peers or set()
            if threading.current_thread() is not self._thread:
                self._awake()

    def _awake(self) -> None:
        if self._wake >= 0:
            with suppress(BlockingIOError):  # it is awake already
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Abort all, and tie none any more. Twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._awake()
        if self._thread.is_alive():
            self._thread.join()
        self._doom_all()
        self._abort_doomed()
        self._heard.close()
        self._table.close()
        with self._lock:
            wake, self._wake = self._wake, -1
            os.close(wake)
            # What could not be aborted is left to the next daemon.
            if self._file is not None and not self._ties:
                with suppress(OSError):
                    self._file.close()

    # The thread

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._heard, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._closed:
                # What could not be looked at, or aborted, is tried again a moment later.
                waits = self._all_due or self._due or self._doomed
                ready = {key.fd for key, _ in selector.select(_AGAIN_SECONDS if waits else None)}
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if self._heard.fileno() in ready:
                    self._hear(selector)
                self._abort_doomed()
                self._look(self._take_due())

    def _hear(self, selector: selectors.BaseSelector) -> None:
        try:
            peers = self._heard.read()
        except OSError as error:
            _log.error("the kernel's changes are not heard any more: %s", error.strerror)
            selector.unregister(self._heard)
            self._doom_all()
            return
        if peers is None or peers:
            self._look_at(peers)

    def _take_due(self) -> list[_Tie]:
        with self._lock:
            due, self._due = self._due, set()
            everything, self._all_due = self._all_due, False
            ties = list(self._ties.values())
        return [tie for tie in ties if everything or unscoped(tie.route.peer) in due]

    def _look(self, ties: Iterable[_Tie]) -> None:
        """Abort those whose ids are not what they were."""
        by_route: dict[Route, list[_Tie]] = defaultdict(list)
        for tie in ties:
            by_route[tie.route].append(tie)
        for route, its in by_route.items():
            try:
                changed = self._changed(route, its)
            except OSError:  # the table changes all the time, or there is no memory
                self._look_at({unscoped(route.peer)})
                continue
            if not changed:
                continue
            _log.info(
                "%d connections with %s are aborted: what they are tied to has changed",
                len(changed),
                route.peer,
            )
            with self._lock:
                self._doomed |= {
                    cookie: self._ties[cookie].connection
                    for cookie in (tie.connection.cookie for tie in changed)
                    if cookie in self._ties
                }
        self._abort_doomed()

    def _changed(self, route: Route, ties: Collection[_Tie]) -> list[_Tie]:
        """Find those whose ids are others now; what charon does not tell is another. Raises OSError."""
        deadline = time.monotonic() + _CHARON_SECONDS
        try:
            pair = self._sas.find(route.reqid, route.own, route.peer)
            maker = None if pair is None else self._known.maker(pair, route.peer, deadline)
            now = NOTHING if maker is None else Ids(maker[0].unique_id, maker[1].unique_id)
            changed = [tie for tie in ties if not tie.ids.hold(now)]
            if pair is not None or not any(tie.ids.quick is None for tie in changed):
                return changed
            # Between two pairs of SAs the IKE SA that makes them is still the one.
            ikes = {ike.unique_id for ike in self._known.ask(route.peer, deadline) if ike.state in PROVEN}
        except CharonError:
            return list(ties)
        return [tie for tie in changed if tie.ids.quick is not None or tie.ids.main not in ikes]

    def _abort_doomed(self) -> None:
        with self._lock:
            doomed = list(self._doomed.items())
        for cookie, connection in doomed:
            try:
                self._table.destroy(connection)
            except OSError as error:
                if not self._refused:
                    _log.error("a connection cannot be aborted: %s", error.strerror)
                self._refused = True
                continue
            self._refused = False
            self._forget(cookie)
