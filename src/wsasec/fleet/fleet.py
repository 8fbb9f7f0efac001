"""Fleet: sockets over several processes."""

from __future__ import annotations

import math
import os
import pickle
import resource
import warnings
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import spawn
from multiprocessing.connection import wait
from time import monotonic
from typing import Any, Final, Literal

from .. import first_use, profiles
from ..readiness import LONGEST_WAIT
from ..sockets import check_timeout
from .process import WorkerProcess
from .results import FleetError, FleetResult, WorkerFailure, WorkerResult
from .worker import GO, PROGRESS, RAISED, importing_main

__all__ = ["Fleet"]

# What a worker has open besides its sockets: libraries, pipes, namespaces, what the work opens.
_OTHER_DESCRIPTORS: Final = 128
# How long idle workers may take to close their sockets, and how long busy ones, once they are interrupted.
_CLOSING: Final = 30.0
_INTERRUPTED: Final = 1.0

# Anything but GO.
_STAY: Final = b"stay"

_GUARD: Final = (
    "the program's main module makes a Fleet while a worker imports it: put what the program does under "
    '`if __name__ == "__main__":`'
)


def _process_count(n: int) -> int:
    """Return one process a processor, or more where the limit of descriptors wants it."""
    usable = len(os.sched_getaffinity(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = n if hard == resource.RLIM_INFINITY else max(1, hard - _OTHER_DESCRIPTORS)
    return max(1, min(usable, n), math.ceil(n / max(1, room)))


class Fleet:
    """Sockets of several worker processes: made when this is made, and all open until it is closed.

    Use it in a `with` block. The processes are fresh interpreters ("spawn"): a script that makes a Fleet does
    so under ``if __name__ == "__main__":``, and what it lets the workers do (`run`) are functions at the top
    of a module. The workers have the profiles and the network namespace of the thread that makes the Fleet.
    They end with it, and with them what the work has started in their process groups: when it is closed, on
    Ctrl-C within about a second, and when this process dies.

    Attributes:
        made: how the sockets were made, a `FleetResult`: the rows say how many by which worker, and how long
            it took.
        codes: one Winsock code a socket, in the order of the workers; 0 for success (see SocketBatch.codes).

    """

    def __init__(
        self,
        n: int,
        *,
        processes: int = 0,
        timeout: float = 120.0,
        progress: Callable[[int, int], object] | None = None,
        **options: Any,
    ) -> None:
        """Start the workers, and have them make their sockets, all at once.

        Args:
            n: how many sockets in all; the workers' parts differ by one at most.
            processes: how many workers; 0 for one a processor, or as many more as RLIMIT_NOFILE's hard limit
                makes necessary.
            timeout: seconds until all sockets are made; also for `run`, where it has no other. math.inf for
                no end.
            progress: called as progress(done, n) in this process, at most 10 times a second for each worker.
            options: as for `SocketBatch`, but for raise_limit (the workers raise theirs).

        Raises:
            FleetError: a worker failed, or was not done in time; no socket is left. Wrong options of
                SocketBatch are among that: it is the workers that find out.
            OSError: a process could not be started.
            RuntimeError: the main module has no guard, and this is a worker that imports it; or the program
                is frozen, and so has no interpreter for workers.
            TypeError, ValueError: wrong arguments.

        """
        self._workers: list[WorkerProcess] = []
        self._closed = True
        if importing_main():
            raise RuntimeError(_GUARD)
        if n < 0 or processes < 0 or not timeout > 0:
            raise ValueError("n and processes are not below 0, and the timeout is above")
        deadline = check_timeout(timeout)
        self._n = n
        self._pid = os.getpid()
        self._timeout = timeout
        self._progress = progress
        if options.get("secure", True):
            first_use.prepare()
        self._closed = False
        try:
            processes = processes or _process_count(n)
            for index in range(processes):
                self._workers.append(WorkerProcess(index, n // processes + (index < n % processes)))
            told = progress is not None
            orders = [
                pickle.dumps(
                    (_preparation(worker), pickle.dumps((profiles.active(), worker.count, options, told)))
                )
                for worker in self._workers
            ]
            made = self._round(orders, deadline)
            if made.failures:
                raise FleetError(made.failures, processes) from made.failures[0].exception
        except BaseException:
            self._end(_INTERRUPTED)
            raise
        self.codes = array("i")
        for part in made.values:
            self.codes += part
        self.made = replace(made, rows=tuple(replace(row, value=None) for row in made.rows))

    @property
    def processes(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def closed(self) -> bool:
        """Whether the sockets are closed and the workers gone."""
        return self._closed

    def __len__(self) -> int:
        return self._n

    def run(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        timeout: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> FleetResult:
        """Call work(batch, index, *arguments) in each worker, all at the same moment, once all are ready.

        Args:
            work: a function at the top of a module; batch is the worker's `SocketBatch`, index its number.
            arguments: what can be pickled.
            timeout: seconds until all have returned, after which those that have not are killed; None for
                the Fleet's.
            errors: "raise" or "return": what becomes of failures. In both cases the others come to their end.
                A worker whose work raised an exception can work again; if one died, nobody starts any more,
                as the sockets would not be all.

        Returns:
            The results by worker, in order.

        Raises:
            FleetError: a worker failed, and errors is "raise"; its ``result`` is what the others did.
            TypeError, ValueError: the Fleet is closed, or wrong arguments.

        """
        if self._closed:
            raise ValueError("the fleet is closed")
        if errors not in ("raise", "return"):
            raise ValueError(f"errors is 'raise' or 'return', not {errors!r}")
        deadline = check_timeout(self._timeout if timeout is None else timeout)
        order = pickle.dumps((work, arguments))
        try:
            result = self._round([order] * len(self._workers), deadline)
        except BaseException:
            self._end(_INTERRUPTED)
            raise
        if result.failures and errors == "raise":
            raise FleetError(result.failures, self.processes, result) from result.failures[0].exception
        return result

    def _round(self, orders: Sequence[bytes], deadline: float) -> FleetResult:
        """Give orders, and start all when all are ready; wait for the last."""
        failures: dict[int, WorkerFailure] = {}
        answers: dict[int, Any] = {}
        start = 0.0
        if self._give(orders, deadline, failures):
            start = monotonic()
            for worker in self._workers:
                worker.busy = True
                worker.send(GO, deadline)
            answers = self._gather(self._workers, deadline, failures)
        failures |= {worker.index: worker.failure for worker in self._workers if worker.failure}
        rows = tuple(
            WorkerResult(index, self._workers[index].pid, sockets, began - start, ended - began, value)
            for index, (began, ended, sockets, value) in sorted(answers.items())
        )
        return FleetResult(
            rows,
            tuple(failure for _, failure in sorted(failures.items())),
            sum(row.sockets for row in rows),
            max((row.started + row.seconds for row in rows), default=0.0),
        )

    def _give(self, orders: Sequence[bytes], deadline: float, failures: dict[int, WorkerFailure]) -> bool:
        """Give orders; tell whether all are ready to follow them. If not, none of them will."""
        if any(worker.failure for worker in self._workers):
            return False
        for worker, order in zip(self._workers, orders, strict=True):
            worker.send(order, deadline)
        ready = self._gather(self._workers, deadline, failures)
        if len(ready) == len(self._workers):
            return True
        for index in ready:
            self._workers[index].send(_STAY, deadline)
        return False

    def _gather(
        self, workers: Sequence[WorkerProcess], deadline: float, failures: dict[int, WorkerFailure]
    ) -> dict[int, Any]:
        """Wait until each worker has said that it is ready or done, or has failed; add the failures."""
        waiting = {worker.index: worker for worker in workers if not worker.failure}
        answers: dict[int, Any] = {}
        done: dict[int, int] = {}
        while waiting:
            sources: dict[Any, WorkerProcess] = {
                source: worker for worker in waiting.values() for source in (worker.connection, worker.pidfd)
            }
            ready = wait(list(sources), max(0.0, min(deadline - monotonic(), LONGEST_WAIT)))
            if not ready and deadline <= monotonic():
                # All first: the kernel may take its time for each.
                for worker in waiting.values():
                    worker.kill()
                for worker in waiting.values():
                    worker.write_off("was not done in time, and was killed")
                break
            for worker in {sources[source].index: sources[source] for source in ready}.values():
                message = worker.receive(deadline)
                if message is None:
                    del waiting[worker.index]
                    continue
                kind, *rest = _read(message)
                if kind == PROGRESS:
                    done[worker.index] = rest[0]
                    if self._progress is not None:
                        self._progress(sum(done.values()), self._n)
                    continue
                del waiting[worker.index]
                worker.busy = False
                if kind == RAISED:
                    text, error = rest
                    reason = text.rstrip().rpartition("\n")[2]
                    failures[worker.index] = WorkerFailure(
                        worker.index, worker.pid, reason, None, text, error
                    )
                else:
                    answers[worker.index] = tuple(rest)
        return answers

    def close(self) -> None:
        """Close all sockets and end the workers; twice is no error."""
        if not self._closed:
            self._end(_CLOSING)

    def _end(self, seconds: float) -> None:
        """End all workers, and kill those that have not ended after so many seconds."""
        self._closed = True
        if os.getpid() != self._pid:  # a fork's copy: the workers are not its own
            return
        deadline = monotonic() + seconds
        living = [worker for worker in self._workers if not worker.failure]
        with ExitStack() as last:
            # Backwards: all are killed, also what those that ended have started, and then all are reaped. A
            # second Ctrl-C comes to this at once.
            for worker in living:
                last.callback(worker.reap)
            for worker in living:
                last.callback(worker.kill)
            for worker in living:
                worker.begin_end()
            for worker in living:
                worker.await_end(deadline)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self._end(0.0)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Fleet of {self._n} sockets in {self.processes} processes, {state}>"


def _preparation(worker: WorkerProcess) -> dict[str, Any]:
    """Return what a worker needs in order to import the program's main module."""
    data = spawn.get_preparation_data(f"wsasec-fleet-{worker.index}")
    # Its own class refuses to be pickled by others than multiprocessing.
    data["authkey"] = bytes(data["authkey"])
    return data


def _read(message: bytes) -> tuple[Any, ...]:
    try:
        answer: tuple[Any, ...] = pickle.loads(message)  # noqa: S301 - our own workers'
    except Exception as error:  # noqa: BLE001 - whatever a class's own code raises
        return RAISED, f"the answer cannot be read here: {error!r}", error
    return answer
