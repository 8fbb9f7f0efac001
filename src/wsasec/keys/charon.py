"""charon as a process: started with as little as it needs, watched, ended."""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Final

from ..unprivileged import unprivileged
from .ports import IKE_PORTS, require_free
from .reason import CharonError, Reason
from .session import connect
from .settings import strongswan_conf
from .strongswan import find_charon

__all__ = ["Charon", "control_of_engine"]

_SCRIPT: Final = Path(__file__).with_name("charon.sh")
_INSIDE: Final = "/run/wsasec"
# A private /run, and nothing below it but what is charon's own. One table, as three programs that mount
# take longer to start than charon does.
_MOUNTS: Final = """\
wsasec {folder}/run tmpfs mode=0755,uid={user},nosuid,nodev,noexec,size=1m 0 0
{folder}/own {folder}/run/wsasec none bind,x-mount.mkdir=0755 0 0
"""
_MOVED: Final = "{folder}/run /run none rbind 0 0\n"
# The engine's folder is root's: charon speaks to the control socket in it, and loads the plugin.
_ENGINE_INSIDE: Final = "/run/wsasec-engine"
_ENGINE_MOUNTS: Final = """\
{folder}/engine {folder}/run/wsasec-engine none bind,x-mount.mkdir=0755 0 0
{plugin} {folder}/run/wsasec-engine/plugin.so none bind 0 0
"""
# IKE's port; and the kernel's IPsec, where there is no engine in its place.
_MAY: Final = "+net_bind_service"
_MAY_FOR_KERNEL: Final = "+net_admin,+net_bind_service"
# Of the plugin: the numbers of the sockets that it is given.
_SOCKETS: Final = "WSASEC_SOCKETS"
_EXPIRES: Final = Path("/proc/sys/net/core/xfrm_acq_expires")
# Of a line of its log: the time, the thread and the part of charon; and what says nothing of its end: other
# threads than the first one, and that one's last words, whatever the cause is.
_STAMP: Final = re.compile(r"^[0-9T:-]+ \d+\[\w+\] ")
_BESIDE: Final = re.compile(
    r"^[0-9T:-]+ (?!00)\d+\[|\] (failed to load \d+ critical plugin|initialization failed - aborting)"
)
_READ_BYTES: Final = 64 << 10
_LOG_BYTES: Final = 4 << 20
_LOOK_SECONDS: Final = 30.0
_STEP: Final = 0.01


def control_of_engine(folder: Path) -> Path:
    """Return the path of the control socket for an engine, below the folder of a daemon."""
    return folder / "charon" / "engine" / "control"


def _escaped(path: Path) -> str:
    """Return a path as a table of mounts has it."""
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\#" else each for each in str(path))


def _opened(path: Path, flags: int) -> BinaryIO:
    """Open a file in charon's own folder, who must not lead root to another one: no link, and no pipe.

    Raises OSError.
    """
    file = os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    return file


def _last_words(path: Path) -> str:
    """Return the last of a log that says why charon ended, without the times."""
    with suppress(OSError), _opened(path, os.O_RDONLY) as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _READ_BYTES))
        lines = log.read(_READ_BYTES).decode(errors="replace").splitlines()
        return " / ".join([_STAMP.sub("", line) for line in lines if not _BESIDE.search(line)][-2:])
    return ""


class Charon:
    """A charon of our own in one network namespace: that of the thread that calls start().

    Attributes:
        vici: path of its VICI socket, which only root can reach.
        log: path of its log.
        engine: path for the control socket of the engine, where charon finds it.
    """

    def __init__(
        self,
        folder: Path,
        plugin: Callable[[], Path] | None = None,
        sockets: Callable[[], list[socket.socket]] = list,
    ) -> None:
        """Describe it.

        Args:
            folder: for its files; made if it is not there, for root alone.
            plugin: says, at each start, where the plugin is by which charon gives associations to the
                engine, or raises CharonError; None: the kernel has them.
            sockets: opens, at each start, UDP sockets for that plugin, not bound; may raise OSError.
        """
        self._folder = folder
        self._plugin = plugin
        self._sockets = sockets
        self.engine = folder / "engine" / "control"
        self._own = folder / "own"
        self.vici = self._own / "vici"
        self.log = self._own / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its number; None if it does not run."""
        process = self._process
        return process.pid if process is not None and self.alive else None

    def start(self, deadline: float) -> None:
        """Start it and wait until it answers.

        Args:
            deadline: point of time.monotonic().

        Raises:
            CharonError: it is not installed, its ports are taken, or it does not answer.
            OSError: its files or sockets cannot be made, or there is no account for it.
        """
        if self.alive:
            raise RuntimeError("it runs already")
        self.stop()
        program = find_charon()
        plugin = None if self._plugin is None else self._plugin()
        # The engine has the other one of the charon before, and lets go of it for this one.
        require_free(IKE_PORTS if plugin is None else IKE_PORTS[:1])
        self._make_files(plugin)
        started = threading.Event()
        failure: list[OSError] = []
        # The kernel ends charon when the thread that started it ends: this one stays until charon has ended.
        self._thread = threading.Thread(
            target=self._watch, args=(program, started, failure), name="wsasec-charon", daemon=True
        )
        self._thread.start()
        started.wait()
        if failure:
            self.stop()
            raise failure[0]
        try:
            self._wait_until_it_answers(deadline)
        except BaseException:
            self.stop()
            raise

    def make_folder(self) -> None:
        """Make its folders: for an engine that is there before charon. Twice is fine. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        self.engine.parent.mkdir(exist_ok=True)
        self.engine.parent.chmod(0o755)  # for charon, whatever the umask is; the folder above is root's

    def _make_files(self, plugin: Path | None) -> None:
        account = unprivileged()
        self.make_folder()
        (self._folder / "run").mkdir(mode=0o700, exist_ok=True)
        self._own.mkdir(mode=0o700, exist_ok=True)
        os.chown(self._own, account.pw_uid, account.pw_gid)
        mounts, engine = _MOUNTS, None
        if plugin is not None:
            mounts, engine = mounts + _ENGINE_MOUNTS, f"{_ENGINE_INSIDE}/{self.engine.name}"
            (self.engine.parent / "plugin.so").touch()
        mounts = (mounts + _MOVED).format(
            folder=_escaped(self._folder.absolute()),
            user=account.pw_uid,
            plugin=None if plugin is None else _escaped(plugin.absolute()),
        )
        # The folder is root's alone.
        (self._folder / "fstab").write_text(mounts)
        for name, text in (("strongswan.conf", strongswan_conf(_INSIDE, engine)), ("log", None)):
            path = self._own / name
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags if text is None else flags | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)
                os.fchown(descriptor, account.pw_uid, account.pw_gid)
                file.write(text or "")
        self.vici.unlink(missing_ok=True)

    def _watch(self, program: Path, started: threading.Event, failure: list[OSError]) -> None:
        """Start it, wait for its end, and put back what it changed in the namespace."""
        before: str | None = None
        try:
            with suppress(OSError):  # a kernel without XFRM
                before = _EXPIRES.read_text()
            unshare = shutil.which("unshare") or "/usr/bin/unshare"
            words = [unshare, "--mount", "--propagation", "private", "--", "/bin/sh", str(_SCRIPT)]
            account = unprivileged()
            words += [str(self._folder), str(account.pw_uid), str(account.pw_gid)]
            words += [str(program), str(os.getpid())]
            if self._plugin is None:
                words += [_MAY_FOR_KERNEL, ""]
            else:
                words += [_MAY, f"{_ENGINE_INSIDE}/plugin.so"]
            with ExitStack() as stack:
                log = stack.enter_context(self.log.open("ab"))  # what goes wrong before charon is there
                sockets = [stack.enter_context(sock).fileno() for sock in self._sockets()]
                for descriptor in sockets:
                    # The sockets of one port are of one user, and charon's own is that one's.
                    os.fchown(descriptor, account.pw_uid, account.pw_gid)
                self._process = subprocess.Popen(
                    words,
                    env={
                        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "STRONGSWAN_CONF": f"{_INSIDE}/strongswan.conf",
                        _SOCKETS: " ".join(map(str, sockets)),
                    },
                    pass_fds=sockets,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            failure.append(error)
            return
        finally:
            started.set()
        self._wait_for_its_end(self._process)
        if before is not None:
            with suppress(OSError):
                _EXPIRES.write_text(before)

    def _wait_for_its_end(self, process: subprocess.Popen[bytes]) -> None:
        descriptor = os.pidfd_open(process.pid)
        try:
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            while not ended.poll(_LOOK_SECONDS * 1000):
                self._trim_log()
        finally:
            os.close(descriptor)
        process.wait()

    def _trim_log(self) -> None:
        """Put a log that has grown aside; charon appends, so its next line gets to the file's new end."""
        with suppress(OSError), _opened(self.log, os.O_RDWR) as log:
            if os.fstat(log.fileno()).st_size <= _LOG_BYTES:
                return
            aside = self._folder / "log.1"
            aside.touch(mode=0o600)
            with aside.open("wb") as file:
                shutil.copyfileobj(log, file)
            os.truncate(log.fileno(), 0)

    def _wait_until_it_answers(self, deadline: float) -> None:
        while True:
            try:
                # It may end between the two: then its log says why.
                self._ask_version(deadline)
            except CharonError:
                if not self.alive:
                    raise CharonError(
                        Reason.NO_CHARON, f"charon ended at once: {_last_words(self.log)}"
                    ) from None
                if time.monotonic() >= deadline:
                    raise CharonError(
                        Reason.NO_CHARON, "charon did not come up before the deadline"
                    ) from None
                time.sleep(_STEP)
                continue
            return

    def _ask_version(self, deadline: float) -> None:
        session = connect(self.vici, deadline)
        try:
            session.request("version", None, deadline)
        finally:
            session.close()

    def kill(self, seconds: float = 5.0) -> None:
        """End it at once, as one that does not answer, and wait for that, so many seconds at most."""
        process = self._process
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

    def stop(self, seconds: float = 5.0) -> None:
        """End it: it takes leave of its peers. After so many seconds it is killed. Twice is fine."""
        process, thread = self._process, self._thread
        if process is not None:
            if process.poll() is None:
                process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None:
                process.kill()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._process = self._thread = None
        self.vici.unlink(missing_ok=True)
