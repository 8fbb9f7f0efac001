"""The engine as a process: started without any privilege, watched, ended, started again."""

from __future__ import annotations

import errno
import logging
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..unprivileged import unprivileged
from .control import TIMEOUT, Control
from .device import Device
from .messages import EngineError, Hello
from .transports import Transport

__all__ = ["PROGRAM", "Ended", "Engine", "EngineStartError"]

_log = logging.getLogger(__name__)

PROGRAM: Final = Path(__file__).with_name("wsasec-engine")
MEMLOCK: Final = 64 << 20
"""Bytes that the engine may keep from being swapped out: its keys."""

_LAUNCH: Final = Path(__file__).with_name("launch.py")
_LINES: Final = 50
_BACKLOG: Final = 16


class EngineStartError(RuntimeError):
    """The engine could not be started; the message says why, with what it said last."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an engine ended.

    Attributes:
        code: its exit code, or less a signal's number.
        said: the last lines that it wrote.
    """

    code: int
    said: tuple[str, ...]

    def __str__(self) -> str:
        how = f"signal {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"
        return f"{how}: {' / '.join(self.said)}" if self.said else how


@dataclass(frozen=True, slots=True)
class _User:
    uid: int
    gid: int

    @classmethod
    def of(cls, name: str | None) -> _User:
        """Return the user that the engine runs as; (-1, -1) for the one that this process runs as."""
        if os.geteuid() != 0:
            return cls(-1, -1)
        try:
            entry = unprivileged() if name is None else pwd.getpwnam(name)
        except KeyError:
            raise EngineStartError(f"there is no user {name!r} for the engine to run as") from None
        except OSError as error:
            raise EngineStartError(str(error.strerror)) from None
        if entry.pw_uid == 0:
            raise EngineStartError("the engine does not run as root: name another user")
        if not (_mapped("uid", entry.pw_uid) and _mapped("gid", entry.pw_gid)):
            _log.info(
                "this user namespace has no user %s: the engine runs as this one, without capabilities",
                entry.pw_name,
            )
            return cls(-1, -1)
        return cls(entry.pw_uid, entry.pw_gid)


def _mapped(kind: str, number: int) -> bool:
    """Whether this user namespace has a number."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= number < first + count:
            return True
    return False


class Engine:
    """An engine that serves devices by transports. It ends when this process does, however that ends.

    Attributes:
        control: the launcher's connection to it.
        path: where others can connect; None: nowhere.
        devices: that it serves.
        transports: by which it sends.
    """

    control: Control

    def __init__(
        self,
        devices: Sequence[Device],
        transports: Sequence[Transport],
        *,
        control: Path | None = None,
        threads: int | None = None,
        crypto: str | None = None,
        spin: int | None = None,
        user: str | None = None,
        memlock: int = MEMLOCK,
        program: Path = PROGRAM,
        on_end: Callable[[Ended], None] | None = None,
    ) -> None:
        """Describe it; `start` makes and starts one."""
        self.devices = list(devices)
        self.transports = list(transports)
        self.path = control
        self._threads = threads or max([1, *(device.threads for device in devices)])
        self._crypto = crypto
        self._spin = spin
        self._user = user
        self._memlock = memlock
        self._program = program
        self._on_end = on_end
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said: deque[str] = deque(maxlen=_LINES)

    @classmethod
    def start(
        cls,
        devices: Sequence[Device],
        transports: Sequence[Transport],
        *,
        control: Path | None = None,
        threads: int | None = None,
        crypto: str | None = None,
        spin: int | None = None,
        user: str | None = None,
        memlock: int = MEMLOCK,
        program: Path = PROGRAM,
        on_end: Callable[[Ended], None] | None = None,
    ) -> Engine:
        """Start an engine. It needs nothing of the network namespace it is in: all is opened by the caller.

        Args:
            devices: which it serves; others can be added.
            transports: by which it sends and receives; others can be added, also by who has a connection.
            control: path of a socket at which it listens to others: root, and that user. A file that is there
                is replaced if it is a socket. None: there is only `control`.
            threads: of each direction; None for as many as the devices have queues for.
            crypto: "ipsec-mb" or "OpenSSL"; None for the fastest that it has.
            spin: microseconds, 0 to 1000, that a thread looks for the next packet before it sleeps, where
                packets come in quick steps; None for the engine's own default, 200.
            user: whom it runs as where this process is root's; nobody else's processes should be that user's.
                None for that of `wsasec.unprivileged`.
            memlock: bytes that it may keep from being swapped out.
            program: what is run.
            on_end: called, by a thread, when it has ended, also when it was stopped.

        Raises:
            EngineStartError: the program is missing, or ended at once; the message says why.
            EngineError: it refused a device or a socket.
            OSError: the socket cannot be made, or the process not be started.
        """
        engine = cls(
            devices,
            transports,
            control=control,
            threads=threads,
            crypto=crypto,
            spin=spin,
            user=user,
            memlock=memlock,
            program=program,
            on_end=on_end,
        )
        engine._start()
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Engine pid {self.pid}>"

    @property
    def pid(self) -> int | None:
        """Its process; None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.pid is not None

    @property
    def said(self) -> tuple[str, ...]:
        """The last lines that it wrote to its log."""
        return tuple(self._said)

    def connect(self) -> Control:
        """Return another connection to it. OSError: it does not listen, or has ended."""
        if self.path is None:
            raise FileNotFoundError(2, "this engine listens nowhere")
        return Control(self.path)

    def hello(self) -> Hello:
        """Ask who it is."""
        return self.control.hello()

    def add_device(self, device: Device) -> None:
        """Have it serve another device. EngineError."""
        self.control.add_device(
            *(device.profile.reqid, device.ifindex, device.name, device.mtu, device.queues),
            bulk=device.bulk,
        )
        if device not in self.devices:
            self.devices.append(device)

    def replace_device(self, device: Device) -> None:
        """Give it the queues of a device that was made again. For `Keeper`. EngineError."""
        try:
            self.control.remove_device(device.profile.reqid)
        except EngineError as error:
            if error.errno != errno.ENOENT:
                raise
        self.add_device(device)

    def remove_device(self, device: Device) -> None:
        """Have it let go of a device, or not have it when it is started again. EngineError."""
        if device in self.devices:
            self.devices.remove(device)
        self.control.remove_device(device.profile.reqid)

    def add_transport(self, transport: Transport) -> None:
        """Have it send and receive by more sockets. EngineError."""
        self._hand_over(transport)
        if transport not in self.transports:
            self.transports.append(transport)

    def _hand_over(self, transport: Transport) -> None:
        sockets = [sock.fileno() for sock in transport.sockets]
        self.control.add_transport(transport.kind, transport.family, transport.port, sockets)

    def restart(self) -> None:
        """Start it again, with the devices and transports that it had; associations are gone. As `start`."""
        self._end()
        self._start()

    def stop(self, timeout: float = TIMEOUT) -> Ended | None:
        """End it, by force if it does not within `timeout` seconds. Devices and transports stay open.

        Returns:
            How it ended; None if it had been stopped before.
        """
        ended = self._end(timeout)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            if self.path is not None:
                self.path.unlink(missing_ok=True)
        return ended

    def wait(self, timeout: float | None = None) -> Ended:
        """Wait until it ends by itself. TimeoutError: it did not."""
        process, reader = self._process, self._reader
        if process is None:
            raise RuntimeError("it was not started, or stopped")
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the engine did not end within {timeout} s") from None
        if reader is not None and reader is not threading.current_thread():
            reader.join()
        return Ended(process.returncode, self.said)

    def _end(self, timeout: float = TIMEOUT) -> Ended | None:
        process = self._process
        if process is None:
            return None
        with suppress(OSError, ValueError):  # it has ended, or cannot be spoken with
            self.control.timeout = timeout
            self.control.stop()
        self.control.close()  # its end without that
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
        ended = self.wait()
        if self._reader is None and process.stderr is not None:
            process.stderr.close()
        self._process = self._reader = None
        return ended

    def _start(self) -> None:
        self._said.clear()
        with ExitStack() as stack:
            stack.callback(self.stop)
            self._listen()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(ours.close)
            self.control = Control(ours)
            with theirs:
                self._process = self._spawn(theirs)
            assert self._process.stderr is not None  # noqa: S101
            reader = threading.Thread(
                target=self._read,
                args=(self._process,),
                name=f"wsasec-engine-{self._process.pid}",
                daemon=True,
            )
            reader.start()
            self._reader = reader
            try:
                self._introduce()
            except (ConnectionError, TimeoutError) as error:
                ended = self._end()
                raise EngineStartError(f"the engine did not start: {ended}") from error
            stack.pop_all()

    def _introduce(self) -> None:
        """Hand over all that it works with."""
        self.control.hello()
        for device in self.devices:
            self.add_device(device)
        for transport in self.transports:
            self._hand_over(transport)
        if self._listener is not None:
            self.control.listen(self._listener.fileno())
        self.control.start()

    def _listen(self) -> None:
        path = self.path
        if path is None or self._listener is not None:
            return
        user = _User.of(self._user)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(17, f"{path} is there, and no socket")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            # Connections are refused until it listens, when the file's mode and owner are set.
            listener.bind(str(path))
            path.chmod(0o600)
            os.chown(path, user.uid, user.gid)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[str]:
        user = _User.of(self._user)
        try:
            program = os.open(self._program, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise EngineStartError(
                f"{self._program} cannot be opened: {error.strerror}; install wsasec from a wheel for Linux"
            ) from error
        try:
            numbers = (program, theirs.fileno(), self._memlock, user.uid, user.gid)
            return subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_LAUNCH), *map(str, numbers)),
                    *("wsasec-engine", "--control-fd", "3", "--threads", str(self._threads)),
                    *(() if self._crypto is None else ("--crypto", self._crypto)),
                    *(() if self._spin is None else ("--spin", str(self._spin))),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(program, theirs.fileno()),
                text=True,
                errors="replace",
                process_group=0,  # Ctrl-C is for the launcher, which ends it
            )
        finally:
            os.close(program)

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take what it writes; that it writes no more is its end."""
        assert process.stderr is not None  # noqa: S101
        with process.stderr as lines:
            for line in lines:
                self._said.append(line.rstrip("\n"))
                _log.info("engine %d: %s", process.pid, line.rstrip("\n"))
        process.wait()
        if self._on_end is not None:
            self._on_end(Ended(process.returncode, self.said))
