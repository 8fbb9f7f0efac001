"""A network namespace held by a descriptor only: it has no name, so nothing is left of it after a crash."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from . import libc
from .children import spawn
from .errors import LabError
from .privileges import require_privileges
from .xfrm import SA, XfrmSocket

__all__ = ["Namespace", "private"]

_OWN: Final = "/proc/thread-self/ns/net"
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def _open_own() -> int:
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def _set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        (flags,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


class Namespace:
    """A network namespace; the kernel removes it when its last holder (descriptor, process, socket) is gone.

    Attributes:
        name: for messages; the kernel does not know it.
        fd: the descriptor that holds it; -1 after close().
        v4: its IPv4 address on `device`.
        v6: its IPv6 address on `device`.
        device: the network device that leads out of it.
    """

    def __init__(self, name: str, *, v4: str = "127.0.0.1", v6: str = "::1", device: str = "lo") -> None:
        """Make a namespace with its loopback device up.

        Raises:
            LabError: CAP_SYS_ADMIN or CAP_NET_ADMIN is missing.
            OSError: the kernel refused.
        """
        require_privileges()
        self.name = name
        self.v4 = v4
        self.v6 = v6
        self.device = device
        self.fd = -1
        home = _open_own()
        try:
            libc.unshare(libc.CLONE_NEWNET)
            try:
                self.fd = _open_own()
                _set_loopback_up()
            except BaseException:
                self.close()
                raise
            finally:
                libc.setns(home, libc.CLONE_NEWNET)
        finally:
            os.close(home)

    def __repr__(self) -> str:
        return f"<Namespace {self.name} fd={self.fd} {self.device} {self.v4} {self.v6}>"

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. Processes and sockets inside keep it alive."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _held(self) -> int:
        if self.fd < 0:
            raise LabError(f"namespace {self.name} is closed")
        return self.fd

    @property
    def identity(self) -> tuple[int, int]:
        """(st_dev, st_ino), the same for every descriptor and /proc entry of this namespace."""
        status = os.fstat(self._held())
        return status.st_dev, status.st_ino

    @property
    def path(self) -> str:
        """A path that stands for it in other processes of the same user, as long as this one holds it."""
        return f"/proc/{os.getpid()}/fd/{self._held()}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread work inside, then return to where it was, also on exceptions.

        Only the calling thread moves. Sockets made inside stay inside.

        Raises:
            LabError: the namespace is closed, or the thread cannot return.
            OSError: it cannot be entered.
        """
        held = self._held()
        home = _open_own()
        try:
            libc.setns(held, libc.CLONE_NEWNET)
            try:
                yield
            finally:
                try:
                    libc.setns(home, libc.CLONE_NEWNET)
                except OSError as error:
                    raise LabError(
                        f"this thread cannot leave namespace {self.name}: {error.strerror}"
                    ) from error
        finally:
            os.close(home)

    def socket(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002
        proto: int = 0,
    ) -> socket.socket:
        """Make a socket inside; usable from any thread. Raises OSError."""
        with self.entered():
            return socket.socket(family, type, proto)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Prefix a command so that it runs inside, whoever starts it, while this process is there."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def popen(self, argv: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
        """Start a process inside; it is killed when this process ends. See `children.spawn` for errors."""
        return spawn(argv, netns=self._held(), **kwargs)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002
        check: bool = True,
        timeout: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end.

        Args:
            argv: the command.
            input: text for its standard input; None for /dev/null.
            check: whether an exit code other than 0 is an error.
            timeout: seconds after which it is killed.

        Raises:
            subprocess.CalledProcessError: it failed (`check`).
            subprocess.TimeoutExpired: it took too long.
            FileNotFoundError: there is no such command.
        """
        process = self.popen(
            argv,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        with process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(argv), out, err)
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def sysctl(self, name: str, value: object = None) -> str:
        """Read a sysctl inside, like "net.ipv4.tcp_syncookies", after writing `value` if it is given.

        Raises:
            OSError: there is none of this name, or it cannot be written.
        """
        file = Path("/proc/sys", *name.split("."))
        with self.entered():
            if value is not None:
                file.write_text(f"{value}\n")
            return file.read_text().strip()

    def sas(self) -> list[SA]:
        """Return the SAs inside, with counters and without keys. Raises OSError, LabError."""
        with self.entered(), XfrmSocket() as xfrm:
            return xfrm.associations()

    def policies(self) -> str:
        """Return the list of policies inside as `ip xfrm policy` prints it. Raises CalledProcessError."""
        return self.run(["ip", "-s", "xfrm", "policy", "list"]).stdout


@contextmanager
def private(name: str = "private") -> Iterator[Namespace]:
    """Let this thread work in a fresh network namespace with lo up, removed after.

    Raises:
        LabError: CAP_SYS_ADMIN or CAP_NET_ADMIN is missing; `enter_private_namespaces` gets them.
        OSError: the kernel refused.
    """
    with Namespace(name) as namespace, namespace.entered():
        yield namespace
