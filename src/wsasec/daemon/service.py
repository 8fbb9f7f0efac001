"""The running daemon: configuration, guard, charon, negotiator and socket, and their order."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final

from .. import __version__, profiles
from ..config.files import check_files
from ..config.load import load
from ..config.model import Config
from ..constants import Winsock
from ..engine import EngineStartError, NotSecureError
from ..keys.associations import Event
from ..keys.carrier import Carrier, EngineCarrier, KernelCarrier, MixedError, on_device
from ..keys.charon import control_of_engine
from ..keys.negotiator import Negotiator
from ..keys.pins_file import PinsFile
from ..keys.reason import CharonError
from ..keys.ties_file import abort_left
from ..profile import Profile
from ..profiles import ConfigError, Profiles
from .changing import VERBS as CHANGES
from .changing import Changing
from .devices import Devices
from .guard import put_up
from .messages import MalformedError
from .place import Place
from .policies import VERBS as POLICIES
from .policies import Policies, refused
from .program_profiles import tell
from .questions import Questions
from .recorded import RecordedIke
from .server import Asked, Later, Server
from .status import describe

__all__ = ["FAILURES", "Service", "read_config"]

_log = logging.getLogger(__name__)

FAILURES: Final = (CharonError, ConfigError, OSError, ValueError, NotSecureError, EngineStartError)
"""What starting and reloading raise for the administrator to read; SecurityError is an OSError."""

_DAMAGED: Final = (
    "sockets that are open may take every identity that is trusted: end the programs that named their peers"
)
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 1.0
_STATUS_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_STEADY_SECONDS: Final = 30.0


def read_config(path: Path) -> Config:
    """Read the configuration and check all files that it names. Raises ConfigError, OSError."""
    config = load(path)
    check_files(config)
    return config


def _profiles(config: Config) -> Profiles:
    found = {name: each.profile for name, each in config.profiles.items()}
    return Profiles(found, found[config.default])


class Service:
    """A daemon that has a place, and a configuration that was checked."""

    def __init__(self, place: Place, config: Config) -> None:
        """Describe it.

        Args:
            place: where it listens; it stays the caller's.
            config: as read_config() returns it.

        Raises:
            ValueError: its profiles have not the same carrier.
        """
        self._place = place
        self._config = config
        self._begun = time.time()
        self._restarts = 0
        self._trouble = ""
        self._on_device = on_device(config)
        self._devices: Devices | None = None
        self._carrier: Carrier = KernelCarrier()
        if self._on_device:
            engine = control_of_engine(place.folder)
            self._devices = Devices(engine, config.spin_microseconds, one_call=config.one_call)
            self._carrier = EngineCarrier(engine, self._devices.threads)
        self._ike = RecordedIke(place.folder, config, self._carrier)
        self._sessions = Changing(config, self)
        self._policies = Policies(
            lambda: self._config, self._ike, self._sessions.policies, self._carrier.sas()
        )
        self._changing = self._sessions.lock  # held while the configuration changes, or charon is started
        self._left: set[int] = set()  # reqids whose associations are to end, and may not have
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="wsasec-watch", daemon=True)
        self._pins: PinsFile | None = None
        self._negotiator: Negotiator | None = None
        self._questions: Questions | None = None
        self._server: Server | None = None

    def start(self) -> None:
        """Put the guard up, start charon and listen.

        Raises:
            SecurityError: the guard cannot be complete.
            CharonError, ConfigError, OSError, ValueError: as Ike.start(). Nothing runs then.
        """
        self._ike.require(self._config, time.monotonic() + _START_SECONDS)
        if self._devices is not None:
            self._ike.make_folder()
            self._devices.start(each.profile for each in self._config.profiles.values())
        try:
            self._start()
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """After charon, and all that asks the engine."""
        if self._devices is not None:
            self._devices.stop()
        if isinstance(self._carrier, EngineCarrier):
            self._carrier.close()

    def _use(self, config: Config) -> None:
        found = _profiles(config)
        if self._devices is not None:
            self._devices.use(found.values())
        profiles.use(found)
        put_up(found.values())

    def _start(self) -> None:
        self._use(self._config)
        self.tell(())  # those of a daemon that was killed
        ties = self._place.folder / "ties"
        # Before its associations are removed: so the peers are told in them.
        left = abort_left(ties)
        if left:
            _log.warning("the daemon before was killed: %d connections that were tied are aborted", left)
        pins = self._pins = PinsFile(self._place.folder / "pins")
        if pins.damaged:
            _log.error("pins: %d lines are damaged: %s", pins.damaged, _DAMAGED)
        self._ike.keep_pins({key: identity for key, (identity, _) in pins.left.items()})
        self._ike.watch(self._happened)
        try:
            self._ike.start(time.monotonic() + _START_SECONDS)
            self._negotiator = Negotiator(
                *(self._ike, self._config), ties=ties, pins=pins, carrier=self._carrier
            )
            self._negotiator.start()
            self._questions = Questions(self._config, self._negotiator, self._control, self._close)
            self._server = Server(self._place.listen(), self._questions, programs=pins.programs)
        except BaseException:
            if self._questions is not None:
                self._questions.closing()
            else:
                self._close()
            raise
        self._watcher.start()

    def run(self) -> None:
        """Serve until stop(); then charon has ended, and with it all associations."""
        assert self._server is not None  # noqa: S101
        try:
            self._server.run()
        finally:
            self._watcher.join()

    def stop(self) -> None:
        """Have run() return soon; for any thread, and for signal handlers."""
        if self._server is not None:
            self._server.stop()

    def reload_soon(self) -> None:
        """Read the configuration again, in a thread of its own; for signal handlers."""
        threading.Thread(target=self._reload_and_say, name="wsasec-reload", daemon=True).start()

    def _close(self) -> None:
        self._stopping.set()
        self._wake.set()
        with self._changing:
            if self._negotiator is not None:
                self._negotiator.abort_tied()
            # charon before the rest: who waits for a negotiation is then told.
            self._ike.stop()
            if self._negotiator is not None:
                self._negotiator.close()
            if self._pins is not None:
                self._pins.close()
            self._let_go()

    # charon's end

    def _happened(self, event: Event) -> None:
        if event.kind == "gone":
            self._wake.set()
        elif self._sessions.over(event):
            threading.Thread(target=self._end_soon, args=[event], name="wsasec-ended", daemon=True).start()

    def _end_soon(self, event: Event) -> None:
        """End what charon was about to make when a policy ended, unless that has been added again."""
        with self._changing:
            reqids = self._sessions.over(event)
            if reqids and not self._stopping.is_set():
                self._end_associations(reqids)

    def _end_associations(self, reqids: Collection[int]) -> None:
        try:
            self._ike.end_associations(reqids, time.monotonic() + _END_SECONDS)
        except CharonError as error:
            _log.error("associations of a policy that is no more: %s", error)
            if not self._ike.give_up(error, lambda sas: sas.of(reqids)):
                self._again(reqids)
        except OSError as error:
            _log.error("associations of a policy that is no more: %s", error)
            self._again(reqids)

    def _again(self, reqids: Collection[int]) -> None:
        self._left.update(reqids)
        self._wake.set()

    def _end_what_is_left(self) -> None:
        """Try again what could not be done."""
        with self._changing:
            left = self._sessions.gone(self._left)
            self._left.clear()
            if left and not self._stopping.is_set():
                self._end_associations(left)

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        started = time.monotonic()
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            if self._ike.alive:
                if self._left and not self._stopping.wait(_AGAIN_SECONDS):
                    self._end_what_is_left()
                continue
            _log.error("charon has ended")
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            while not self._stopping.wait(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)
                if self._start_again():
                    started = time.monotonic()
                    if self._left:
                        self._wake.set()
                    break

    def _start_again(self) -> bool:
        with self._changing:
            if self._stopping.is_set():
                return False
            try:
                self._ike.start(time.monotonic() + _START_SECONDS)
            except FAILURES as error:
                self._trouble = str(error)
                _log.error("charon cannot be started: %s", error)
                return False
            if self._negotiator is not None:
                verdict = self._negotiator.take_over(time.monotonic() + _START_SECONDS)
                if not verdict.good:
                    _log.warning("what was there before is not taken over: %s", verdict.detail)
        self._restarts += 1
        self._trouble = ""
        _log.warning("charon runs again, process %s", self._ike.pid)
        return True

    # What the administrator asks for

    def _control(self, asked: Asked) -> bytes | Later:
        if asked.caller.uid != 0:
            return _said(refused("that is root's to ask: sudo wsasec ...", Winsock.WSAEACCES))
        try:
            question = json.loads(bytes(asked.body))
            verb = question["verb"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise MalformedError("no verb") from error
        if verb == "stop":
            self.stop()
            return _said({"pid": os.getpid()})
        if verb in POLICIES:
            return lambda: _said(self._policies.answer(verb, question))
        if verb in CHANGES:
            answer = self._sessions.answer(verb, question, asked)
            return lambda: _said(answer())
        work: dict[str, Callable[[], dict[str, Any]]] = {"status": self._status, "reload": self._reload}
        if verb not in work:
            return _said({"error": f"unknown verb {verb!r}: the daemon is of another version"[:200]})
        return lambda: _said(work[verb]())

    def _status(self) -> dict[str, Any]:
        trouble = self._trouble
        try:
            found = self._ike.associations(time.monotonic() + _STATUS_SECONDS, wait=False)
        except CharonError as error:
            found = []
            trouble = trouble or str(error)
        server = self._server
        return {
            **describe(self._config, found, self._ike.failures()),
            "version": __version__,
            "pid": os.getpid(),
            "folder": str(self._place.folder),
            "since": self._begun,
            "charon": {
                "pid": self._ike.pid,
                "alive": self._ike.alive,
                "shared": self._config.vici,
                "restarts": self._restarts,
                "trouble": trouble,
            },
            "engine": self._devices.status() if self._devices is not None else None,
            "connections": server.connections if server is not None else 0,
            "programs_with_names": server.programs if server is not None else 0,
        }

    def _reload_and_say(self) -> None:
        said = self._reload()
        if "error" in said:
            _log.error("the configuration stays as it was: %s", said["error"])

    def _reload(self) -> dict[str, Any]:
        try:
            new = read_config(self._config.path)
            with self._changing:
                self._sessions.reload(new)
        except FAILURES as error:
            return {"error": str(error)}
        _log.info("the configuration was read again")
        return {"config": str(new.path), "profiles": sorted(new.profiles)}

    def change(self, new: Config) -> None:
        """Have another configuration in force, or the old one if that fails; see `changing.Changer`."""
        assert self._questions is not None  # noqa: S101
        old = self._config
        self._require_carrier(new)
        if new.vici == old.vici:
            self._ike.require(new, time.monotonic() + _START_SECONDS)
        try:
            self._load(new, _START_SECONDS)
        except BaseException:
            with self._questions.swap:
                self._use(old)
            try:
                self._ike.load(old, time.monotonic() + _START_SECONDS)
            except FAILURES as error:
                _log.error("charon does not take the old configuration either: %s", error)
            raise
        self._in_force(new)

    def _load(self, new: Config, seconds: float) -> None:
        assert self._questions is not None  # noqa: S101
        with self._questions.swap:
            self._use(new)
        self._ike.load(new, time.monotonic() + seconds)

    def _require_carrier(self, new: Config) -> None:
        """Raise ValueError if this daemon cannot carry a configuration's profiles."""
        if not self._on_device and not on_device(new):
            return
        try:
            same = on_device(new) == self._on_device
        except MixedError as error:
            if tuple(self._sessions.policies()) or new.profiles.keys() > self._config.profiles.keys():
                raise MixedError(f"{error}. Policies that programs add are carried by the kernel") from error
            raise
        if not same:
            raise MixedError("carrier: it is another one for all profiles: run wsasec down, wsasec up")

    def _in_force(self, new: Config) -> None:
        assert self._questions is not None  # noqa: S101
        assert self._negotiator is not None  # noqa: S101
        self._config = new
        self._negotiator.configure(new)
        self._questions.config = new

    def tell(self, added: Iterable[Profile]) -> None:
        """Have programs know of profiles beside those of the file; see `changing.Changer`."""
        try:
            tell(self._place.folder, added)
        except OSError as error:
            _log.error("programs are not told of policies: %s", error)

    def withdraw(self, new: Config, reqids: Collection[int]) -> None:
        """Have a configuration with less profiles in force, whatever fails; see `changing.Changer`."""
        if self._stopping.is_set():
            return
        failure: Exception | None = None
        try:
            self._load(new, _END_SECONDS)
        except FAILURES as error:
            _log.error("a policy that is no more: %s", error)
            failure = error
            assert self._questions is not None  # noqa: S101
            with self._questions.swap:
                profiles.use(_profiles(new))
            self._ike.prepare(new)
        self._in_force(new)
        # A charon of our own that still has the policy is started anew.
        if not isinstance(failure, CharonError) or not self._ike.give_up(failure, lambda sas: sas.of(reqids)):
            self._end_associations(reqids)


def _said(what: dict[str, Any]) -> bytes:
    return json.dumps(what).encode()
