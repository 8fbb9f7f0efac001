"""The engine of a daemon, with the secure devices of its profiles, and what belongs to these."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from ..engine import Device, Ended, Engine, EngineError, Keeper
from ..engine.routes import check_support
from ..kernel.sockdiag import is_bound_to
from ..profile import Profile

__all__ = ["Devices"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 5.0
_STEADY_SECONDS: Final = 30.0
_KEEPER_SECONDS: Final = 30.0
_THREADS: Final = 2


class Devices:
    """The secure devices of profiles, with an engine that serves them. For any thread.

    An engine that ends is started again: devices stay, so that sockets go on once there are keys again.

    Attributes:
        threads: of the engine, for each direction.
    """

    def __init__(self, control: Path, spin: int | None = None, *, one_call: bool = True) -> None:
        """Describe it; all is in the network namespace of the thread that calls start().

        Args:
            control: path for the engine's control socket.
            spin: of the engine, in microseconds, as Engine.start() takes it.
            one_call: as Keeper takes it.
        """
        self._control = control
        self._spin = spin
        self._one_call = one_call
        self.threads = _threads()
        self._lock = threading.RLock()  # held while devices or the engine change
        self._keepers: dict[str, Keeper] = {}
        self._engine: Engine | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="wsasec-engine-watch", daemon=True)
        self._restarts = 0
        self._trouble = ""

    def start(self, profiles: Iterable[Profile]) -> None:
        """Make the devices, and start the engine; what an earlier daemon left is taken over.

        Raises:
            NotSecureError, EngineStartError, OSError: and why. Nothing of it runs then; what is there stays
                as it is left by stop().
        """
        wanted = _checked(profiles)
        try:
            with self._lock:
                for profile in wanted.values():
                    self._keep(profile)
                self._engine = Engine.start(
                    *([keeper.device for keeper in self._keepers.values()], []),
                    control=self._control,
                    spin=self._spin,
                    on_end=self._engine_ended,
                )
                self._watcher.start()
            for keeper in self._keepers.values():
                keeper.wait(_KEEPER_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _keep(self, profile: Profile) -> Keeper:
        """Make a device that is kept from now on; what fails leaves no keeper."""
        device = Device.create(profile, self.threads)
        keeper = Keeper(device, on_replaced=self._replaced, one_call=self._one_call)
        try:
            keeper.start()
        except BaseException:
            device.close()
            raise
        self._keepers[profile.name] = keeper
        return keeper

    def use(self, profiles: Iterable[Profile]) -> None:
        """Have the devices of other profiles from now on. Raises as start()."""
        wanted = _checked(profiles)
        with self._lock:
            kept = {n: k for n, k in self._keepers.items() if n in wanted and k.can_use(wanted[n])}
            gone = [keeper for name, keeper in self._keepers.items() if name not in kept]
            self._keepers = kept
        self._let_go_of(gone)
        others = [(keeper, wanted[n]) for n, keeper in kept.items() if keeper.device.profile != wanted[n]]
        for keeper, profile in others:
            keeper.use(profile)
        self._add(profile for name, profile in wanted.items() if name not in kept)
        for keeper, _ in others:
            keeper.wait(_KEEPER_SECONDS)

    def _add(self, profiles: Iterable[Profile]) -> None:
        """Have more devices. Raises as start()."""
        added: dict[str, Keeper] = {}
        try:
            with self._lock:
                for profile in profiles:
                    added[profile.name] = self._keep(profile)
                    if self._engine is not None:
                        self._engine.add_device(added[profile.name].device)
            for keeper in added.values():
                keeper.wait(_KEEPER_SECONDS)
        except BaseException:
            # What was not brought about is tried anew by the next call.
            with self._lock:
                for name in added:
                    self._keepers.pop(name, None)
            self._let_go_of(added.values())
            raise

    def _let_go_of(self, keepers: Iterable[Keeper]) -> None:
        with ExitStack() as stack:  # all of them, whatever becomes of one
            for keeper in keepers:
                stack.callback(self._let_go, keeper)

    def _let_go(self, keeper: Keeper) -> None:
        """Leave a device: it is removed with all that belongs to it, or stays as it is if sockets are on it.

        What has its mark is held from now on: there may be sockets that are not on it, or on nothing yet.

        Without the lock: the keeper's thread may wait for it.
        """
        keeper.stop()  # no socket can be secured any more
        device = keeper.device
        with self._lock:
            engine = self._engine
            if engine is not None:
                with suppress(EngineError, OSError, ValueError):  # it has ended, or has none
                    engine.remove_device(device)
        try:
            if is_bound_to(device.ifindex):
                _log.warning("%s stays: sockets are on it, which can send nothing now", device.name)
                keeper.hold()
                device.close()
                return
            keeper.remove(hold=True)
            device.remove()
        except OSError as error:
            _log.warning("%s stays: %s", device.name, error)
            device.close()

    def stop(self) -> None:
        """End the engine; remove devices that no socket is on. Twice is fine."""
        self._stopping.set()
        self._ended.set()
        if self._watcher.ident is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.stop()
            keepers, self._keepers = self._keepers, {}
        self._let_go_of(keepers.values())

    # Its end

    def _engine_ended(self, ended: Ended) -> None:
        if not self._stopping.is_set():
            _log.error("the engine has ended: %s", ended)
            self._ended.set()

    def _replaced(self, device: Device) -> None:
        # The engine's own restart gives it all devices as they are then.
        with self._lock:
            engine = self._engine
            if engine is not None and engine.alive:
                engine.replace_device(device)

    def _watch(self) -> None:
        pause, started = _FIRST_PAUSE, time.monotonic()
        while True:
            self._ended.wait()
            self._ended.clear()
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            # Longer each time, also after a start that was none for long.
            while not self._stopping.wait(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)
                if self._start_again():
                    started = time.monotonic()
                    break
            if self._stopping.is_set():
                return

    def _start_again(self) -> bool:
        with self._lock:
            engine = self._engine
            if engine is None or engine.alive:
                return True
            try:
                engine.restart()
            except (RuntimeError, OSError, ValueError) as error:  # RuntimeError: also of threads
                self._trouble = str(error)
                _log.error("the engine cannot be started: %s", error)
                return False
            self._restarts += 1
            self._trouble = ""
            _log.warning("the engine runs again, process %s", engine.pid)
            return True

    def status(self) -> dict[str, Any]:
        """Return what there is to say, for JSON."""
        engine = self._engine
        said: dict[str, Any] = {
            "pid": engine.pid if engine is not None else None,
            "alive": engine is not None and engine.alive,
            "restarts": self._restarts,
            "trouble": self._trouble,
            "devices": [
                {
                    "name": keeper.device.name,
                    "profile": name,
                    "mtu": keeper.device.mtu,
                    "faults": keeper.faults,
                    "one_call": keeper.one_call,
                }
                for name, keeper in tuple(self._keepers.items())
            ],
        }
        if engine is not None and engine.alive:
            try:
                with engine.connect() as control:
                    hello, totals = control.hello(), control.totals()
            except (OSError, ValueError) as error:
                said["trouble"] = said["trouble"] or str(error)
            else:
                said |= {"crypto": hello.crypto, "threads": hello.threads}
                said |= {"totals": {name: getattr(totals, name) for name in totals.__slots__}}
        return said


def _checked(profiles: Iterable[Profile]) -> dict[str, Profile]:
    """Return them by their names if the kernel can have the routes of all: before there is a device."""
    wanted = {profile.name: profile for profile in profiles}
    for profile in wanted.values():
        check_support(profile)
    return wanted


def _threads() -> int:
    """Return how many threads of each direction: what fewer processors share takes longer."""
    return max(1, min(_THREADS, len(os.sched_getaffinity(0))))
