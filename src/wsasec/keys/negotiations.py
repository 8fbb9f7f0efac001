"""One negotiation for however many wait for it, and a failure that is remembered for a moment."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

from ..config.model import KeyProfile
from .associations import Address, Outcome
from .layer import IkeLayer
from .pairs import Sas
from .reason import Reason
from .verdict import Verdict, failed

__all__ = ["Negotiations"]

_Key: TypeAlias = tuple[str, Address, Address]

_AT_ONCE: Final = 24
_AT_ONCE_FOR_A_PROCESSOR: Final = 8
_FAILURE_SECONDS: Final = 1.0
_UNWANTED_SECONDS: Final = 1.0
"""How long a negotiation may wait for its turn when nobody waits for it any more."""


def _at_once() -> int:
    """Return how many there may be at a time.

    Peers are given up after a few seconds without an answer, and answers must be worked on, too: each takes
    some milliseconds of a processor, and in a guest a hundred.
    """
    return min(_AT_ONCE, _AT_ONCE_FOR_A_PROCESSOR * len(os.sched_getaffinity(0)))


class _Job:
    """A negotiation that is under way, or waits for its turn.

    Attributes:
        done: set when there is a verdict.
        verdict: what came of it.
        wanted: until when somebody wants it, by the clock of deadlines.
        begun: when its turn came, by that clock; infinite before.
    """

    def __init__(self) -> None:
        self.done = threading.Event()
        self.verdict = Verdict()
        self.wanted = -math.inf
        self.begun = math.inf


class Negotiations:
    """Makes SAs where there are none. Thread-safe.

    Attributes:
        seconds: how long a negotiation may take.
    """

    def __init__(
        self, ike: IkeLayer, sas: Sas, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Describe it.

        Args:
            ike: what negotiates.
            sas: what comes of it.
            seconds: see above.
            clock: of deadlines.
        """
        self._ike = ike
        self._sas = sas
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[_Key, _Job] = {}
        self._failures: OrderedDict[_Key, tuple[float, Verdict]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_at_once(), "wsasec-negotiation")
        self._closed = False

    def close(self) -> None:
        """Have all who wait told that there is no charon, and end the threads. Twice is fine."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
            self._jobs.clear()
        for job in jobs:
            _finish(job, failed(Reason.NO_CHARON, "the key daemon ends"))
        self._pool.shutdown(cancel_futures=True)

    def forget_failures(self) -> None:
        """Try everything anew: something has changed."""
        with self._lock:
            self._failures.clear()

    def run(self, profile: KeyProfile, source: Address | None, peer: Address, deadline: float) -> Verdict:
        """Have a pair of SAs, at once if there is one. See Negotiator.negotiate()."""
        if peer.is_multicast or peer.is_unspecified:
            return failed(Reason.NEGOTIATION, f"{peer} is the address of no host")
        try:
            own = source or self._sas.source(peer, profile.profile.mark)
            if own is None:
                return failed(Reason.UNREACHABLE, f"no address of this host can reach {peer}")
            if self._sas.find(profile.profile.reqid, own, peer) is not None:
                return Verdict()
        except OSError as error:
            return failed(Reason.UNREACHABLE, error.strerror or str(error))
        if not self._ike.alive:
            return failed(Reason.NO_CHARON)
        asked = self._clock()
        verdict, begun = self._await(profile, own, peer, deadline)
        # One that was under way may have sent its last packet before a peer that has come up was asked for.
        if verdict.reason is Reason.PEER_SILENT and begun < asked and self._clock() < deadline:
            verdict, _ = self._await(profile, own, peer, deadline, anew=True)
        return verdict

    def _await(
        self, profile: KeyProfile, own: Address, peer: Address, deadline: float, *, anew: bool = False
    ) -> tuple[Verdict, float]:
        """Wait for a verdict, and return it with when the negotiation began; infinite where none did here."""
        job = self._join(profile, own, peer, deadline, anew=anew)
        if isinstance(job, Verdict):
            return job, math.inf
        if job.done.wait(max(0.0, deadline - self._clock())):
            return job.verdict, job.begun
        return failed(Reason.TIMED_OUT, f"the negotiation with {peer} goes on"), math.inf

    def _join(
        self, profile: KeyProfile, own: Address, peer: Address, deadline: float, *, anew: bool
    ) -> _Job | Verdict:
        """Return what is under way, if need be begun here; or, unless anew, what came of it a moment ago."""
        key = (profile.profile.name, own, peer)
        with self._lock:
            if self._closed:
                return failed(Reason.NO_CHARON, "the key daemon ends")
            job = self._jobs.get(key)
            if job is None:
                remembered = self._failures.get(key)
                if remembered and self._clock() < remembered[0] and not anew:
                    return remembered[1]
                job = self._jobs[key] = _Job()
                self._pool.submit(self._work, key, job, profile, own, peer)
            job.wanted = max(job.wanted, deadline)
            return job

    def _begin(self, key: _Key, job: _Job) -> bool:
        """Take its turn, unless nobody waits for it: many of those must not keep the others waiting."""
        with self._lock:
            job.begun = self._clock()
            if job.begun < job.wanted + _UNWANTED_SECONDS:
                return True
            if self._jobs.get(key) is job:
                del self._jobs[key]
        _finish(job, failed(Reason.TIMED_OUT, "its turn did not come in time"))
        return False

    def _work(self, key: _Key, job: _Job, profile: KeyProfile, own: Address, peer: Address) -> None:
        if not self._begin(key, job):
            return
        verdict = failed(Reason.SYSTEM, "the negotiation came to an unexpected end")
        try:
            verdict = self._negotiate(profile, own, peer)
        finally:
            with self._lock:
                if self._jobs.get(key) is job:
                    del self._jobs[key]
                self._remember(key, verdict)
            _finish(job, verdict)

    def _remember(self, key: _Key, verdict: Verdict) -> None:
        self._failures.pop(key, None)
        if verdict.good or verdict.reason is Reason.NO_CHARON:
            return
        now = self._clock()
        # They are in the order in which they are forgotten.
        while self._failures and next(iter(self._failures.values()))[0] <= now:
            self._failures.popitem(last=False)
        self._failures[key] = now + _FAILURE_SECONDS, verdict

    def _negotiate(self, profile: KeyProfile, own: Address, peer: Address) -> Verdict:
        deadline = self._clock() + self.seconds
        name, reqid = profile.profile.name, profile.profile.reqid
        try:
            # One that was under way when this was asked for may have ended before this was begun.
            if self._sas.find(reqid, own, peer) is not None:
                return Verdict()
            outcome = self._ike.initiate(name, peer, deadline, own)
            # The other end may have been faster: what counts is what the kernel has.
            if self._sas.find(reqid, own, peer) is not None:
                return Verdict()
        except KeyError:
            return failed(Reason.NO_CHARON, f"profile {name} is not loaded")
        except OSError as error:
            return failed(Reason.SYSTEM, error.strerror or str(error))
        if outcome.reason is Reason.NONE:
            return failed(Reason.NEGOTIATION, f"the association with {peer} is not from {own}, or gone again")
        return self._failure(profile, peer, outcome)

    def _failure(self, profile: KeyProfile, peer: Address, outcome: Outcome) -> Verdict:
        if outcome.reason is Reason.AUTHENTICATION:
            pinned = self._ike.pinned(self._ike.group(profile.profile.name), peer)
            if pinned is not None:
                return failed(Reason.OTHER_IDENTITY, f"not '{pinned}', whom names ask for: {outcome.detail}")
        return failed(outcome.reason, outcome.detail)


def _finish(job: _Job, verdict: Verdict) -> None:
    """Tell a verdict, unless another was told before."""
    if not job.done.is_set():
        job.verdict = verdict
        job.done.set()
