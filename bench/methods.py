"""The ways to set sockets up, to ask about them and to close them, that are compared.

Within a group all start from the same. Those that take one socket at a time start from the object, as a
program does; those that take many from the array of descriptors.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import wsasec
from wsasec import _wsasec
from wsasec.settings import SettingsBase

from . import stages
from .baselines import _floor
from .baselines.expert import bind_checked, bind_effective, bind_query
from .baselines.naive import bind_naive
from .baselines.standard_library import bind_setsockopt, query
from .calls import SOCKETS_A_LOOK, Calls
from .stages import Stage, Work

__all__ = ["BASES", "GROUPS", "METHODS", "Method", "Runner", "batch", "missing"]

Runner = Callable[[Work], None]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to do something to sockets.

    Attributes:
        key: its name in the results.
        title: its name in tables.
        group: a key of GROUPS.
        make: given the option values and the descriptor of calls.open_watch(), returns what is timed.
        stage: makes what it starts from.
        main: whether it is measured for all families, types and sizes, also where only the main ones are.
        engine: what the core must offer for it; None for nothing in particular.
        baseline: whether it is what wsasec is compared with, and not wsasec.
    """

    key: str
    title: str
    group: str
    make: Callable[[Calls, int], Runner]
    stage: Stage = stages.fresh
    main: bool = False
    engine: str | None = None
    baseline: bool = False

    @property
    def parallel(self) -> bool:
        """Whether it may use several processors."""
        return self.engine not in (None, "plain")


GROUPS: Final = ("checks", "one", "effective", "create", "query", "teardown")
"""In the order of the tables; what is in one group is measured close together."""

BASES: Final[Mapping[str, Mapping[str, str]]] = {
    "checks": {"floor": "floor", "ctypes_checked": "ctypes_checked"},
    "one": {"floor": "floor", "ctypes_checked": "ctypes_checked"},
    "effective": {"floor": "floor_effective", "ctypes_checked": "ctypes"},
    "create": {"floor": "floor_create"},
    "query": {"floor": "query_floor", "ctypes_checked": "query_ctypes"},
    "teardown": {"floor": "close_floor"},
}
"""What the methods of a group are compared with: the C loop and the ctypes that do the same."""


def _each(act: Callable[[socket.socket], object]) -> Runner:
    def run(work: Work) -> None:
        for sock in work.sockets:
            act(sock)

    return run


def _floor_whole(calls: Calls, watch: int) -> Runner:
    options = calls.all
    return lambda work: _floor.secure(work.numbers, watch, SOCKETS_A_LOOK, options)


def _floor_effective(calls: Calls, _watch: int) -> Runner:
    options = calls.effective
    return lambda work: _floor.effective(work.numbers, options)


def _floor_create(calls: Calls, watch: int) -> Runner:
    family, kind, options = calls.family, calls.type, calls.effective
    return lambda work: _floor.create(work.numbers, family, kind, watch, SOCKETS_A_LOOK, options)


def _secure_many(engine: str) -> Callable[[Calls, int], Runner]:
    def make(_calls: Calls, _watch: int) -> Runner:
        return lambda work: wsasec.secure_many(work.numbers, method=engine)

    return make


def batch(
    engine: str, *, secure: bool = True, settings: SettingsBase | None = None
) -> Callable[[Calls, int], Runner]:
    """Make a batch of sockets, in `work.batch`."""

    def make(calls: Calls, _watch: int) -> Runner:
        family, kind = calls.family, calls.type

        def run(work: Work) -> None:
            work.batch = wsasec.SocketBatch(
                work.count, family=family, type=kind, settings=settings, secure=secure, method=engine
            )

        return run

    return make


def _python_create(calls: Calls, _watch: int) -> Runner:
    family, kind = calls.family, calls.type

    def run(work: Work) -> None:
        add, secure = work.sockets.append, wsasec.secure
        for _ in range(work.count):
            sock = socket.socket(family, kind)
            add(sock)
            secure(sock)

    return run


def _close_batch(_calls: Calls, _watch: int) -> Runner:
    def run(work: Work) -> None:
        assert work.batch is not None
        work.batch.close()

    return run


def _close_numbers(close: Callable[[Work], None]) -> Callable[[Calls, int], Runner]:
    def make(_calls: Calls, _watch: int) -> Runner:
        def run(work: Work) -> None:
            assert work.batch is not None
            # Before a single one is closed: whatever happens, no number is closed twice.
            work.batch.detach()
            close(work)

        return run

    return make


def _close_each(work: Work) -> None:
    close = os.close
    for number in work.numbers:
        close(number)


_ENGINES: Final = (
    ("plain", "", ", plain loop"),
    ("io_uring", "_io_uring", ", io_uring"),
    ("threads", "_threads", ", threads"),
    ("auto", "_auto", ""),
)

METHODS: Final = (
    Method("floor", "C loop", "checks", _floor_whole, main=True, baseline=True),
    *(
        Method(
            f"secure_many{key}",
            f"secure_many{title}",
            "checks",
            _secure_many(engine),
            main=True,
            engine=engine,
        )
        for engine, key, title in _ENGINES
    ),
    Method("secure", "secure", "one", lambda _calls, _watch: _each(wsasec.secure), main=True),
    Method(
        "ctypes_checked", "ctypes", "one", lambda c, w: _each(bind_checked(c, w)), main=True, baseline=True
    ),
    Method(
        "ctypes_untyped",
        "ctypes, no argtypes",
        "one",
        lambda c, w: _each(bind_checked(c, w, typed=False)),
        baseline=True,
    ),
    Method("floor_effective", "C loop", "effective", _floor_effective, baseline=True),
    Method("ctypes", "ctypes", "effective", lambda c, _w: _each(bind_effective(c)), baseline=True),
    Method(
        "ctypes_naive",
        "ctypes, as first written",
        "effective",
        lambda c, _w: _each(bind_naive(c)),
        baseline=True,
    ),
    Method(
        "setsockopt", "socket.setsockopt", "effective", lambda c, _w: _each(bind_setsockopt(c)), baseline=True
    ),
    Method("floor_create", "C loop", "create", _floor_create, stages.nothing, main=True, baseline=True),
    *(
        Method(
            f"batch{key}",
            f"SocketBatch{title}",
            "create",
            batch(engine),
            stages.nothing,
            main=True,
            engine=engine,
        )
        for engine, key, title in _ENGINES
    ),
    Method(
        "batch_plain",
        "SocketBatch, not secured",
        "create",
        batch("plain", secure=False),
        stages.nothing,
        baseline=True,
    ),
    Method("create_python", "socket.socket and secure", "create", _python_create, stages.nothing),
    Method(
        "query_floor",
        "C loop",
        "query",
        lambda _c, _w: lambda work: _floor.query(work.numbers),
        stages.secured,
        baseline=True,
    ),
    Method("query", "profile_of", "query", lambda _c, _w: _each(_wsasec.profile_of), stages.secured),
    Method(
        "query_ctypes", "ctypes", "query", lambda _c, _w: _each(bind_query()), stages.secured, baseline=True
    ),
    Method(
        "query_python",
        "socket.getsockopt",
        "query",
        lambda _c, _w: _each(query),
        stages.secured,
        baseline=True,
    ),
    Method(
        "close_floor",
        "C loop",
        "teardown",
        _close_numbers(lambda work: _floor.close(work.numbers)),
        stages.secured_batch,
        baseline=True,
    ),
    Method("close_batch", "SocketBatch.close", "teardown", _close_batch, stages.secured_batch),
    Method(
        "close_python",
        "os.close",
        "teardown",
        _close_numbers(_close_each),
        stages.secured_batch,
        baseline=True,
    ),
    Method(
        "close_batch_plain",
        "SocketBatch.close, not secured",
        "teardown",
        _close_batch,
        stages.plain_batch,
        baseline=True,
    ),
)


def missing(method: Method) -> str | None:
    """Say why a method cannot be measured here; None if it can."""
    if method.engine is None:
        return None
    failure = _wsasec.method_failure(method.engine)
    return None if failure is None else f"{method.title}: {failure}"
