"""One setsockopt() by which a socket is secured on a device, in place of eight calls.

A program in the kernel, attached to the root of the cgroups, sees each setsockopt() of the machine first. It
passes on all but one option, which no protocol has. That one it answers itself, for root and for sockets of
its namespace: it looks at the socket as `secure()` does, and takes the same steps. The caller is
src/linux/one_call.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..kernel.bpf import CGROUP_SETSOCKOPT, R0, R1, R2, R3, R4, R5, R6, R7, R8, R10, Assembler, attach, load
from ..kernel.options import SO_BINDTOIFINDEX, netns_cookie
from ..profile import Profile

__all__ = ["DONE", "LEVEL", "SECURE", "OneCall", "program"]

LEVEL: Final = 0x57534143
SECURE: Final = 1
DONE: Final = 3557
"""The error number by which the option says that all is done: no other program says so by mistake."""
# struct wsasec_one_call (one_call.h): the namespace, the device's number, the family.
_REALM: Final = 0
_DEVICE: Final = 8
_FAMILY: Final = 12
_ASKED: Final = struct.Struct("=QII")

_TCP_CLOSE: Final = 7

# Numbers of the kernel's functions, in linux/bpf.h.
_GET_CURRENT_UID_GID: Final = 15
_SETSOCKOPT: Final = 49
_GET_NETNS_COOKIE: Final = 122
_SET_RETVAL: Final = 187

# struct bpf_sockopt
_CTX_SOCKET: Final = 0
_CTX_VALUE: Final = 8
_CTX_VALUE_END: Final = 16
_CTX_LEVEL: Final = 24
_CTX_NAME: Final = 28
_CTX_LENGTH: Final = 32

# struct bpf_sock
_SOCK_FAMILY: Final = 4
_SOCK_TYPE: Final = 8
_SOCK_PROTOCOL: Final = 12
_SOCK_MARK: Final = 16
_SOCK_OWN_ADDRESSES: Final = (24, 28, 32, 36, 40)
_SOCK_OWN_PORT: Final = 44
_SOCK_STATE: Final = 72

_LEFT_ALONE: Final = 0  # as the length: the kernel takes what the program was called with
_PAGE_BYTES: Final = 4096  # the least that there is
_REFUSED, _PASSED = 0, 1


def _steps(to: Assembler, options: Mapping[int, int]) -> None:
    """Set options of the socket in R7. The binding is the first: of what is refused nothing has changed."""
    for name, value in options.items():
        to.write(R10, -4, value)
        to.copy(R1, R7)
        to.set(R2, socket.SOL_SOCKET)
        to.set(R3, name)
        to.copy(R4, R10, -4)
        to.set(R5, 4)
        to.call(_SETSOCKOPT)
        to.go_unless_equal(R0, 0, "refuse")


def program(profile: Profile, ifindex: int, realm: int) -> bytes:
    """Return the program for a device.

    Args:
        profile: the device's.
        ifindex: its number in its namespace.
        realm: the cookie of that (SO_NETNS_COOKIE).
    """
    to = Assembler()
    to.copy(R6, R1)
    to.read(R2, R6, _CTX_LEVEL)
    to.go_unless_equal(R2, LEVEL, "pass")
    to.read(R2, R6, _CTX_NAME)
    to.go_unless_equal(R2, SECURE, "pass")
    to.read(R7, R6, _CTX_SOCKET, wide=True)
    to.go_if_equal(R7, 0, "pass")
    # Of another namespace's, and of another device's, another program says what becomes of it.
    to.copy(R1, R6)
    to.call(_GET_NETNS_COOKIE)
    to.set_wide(R8, realm)
    to.go_unless_same(R0, R8, "pass")
    to.read(R2, R6, _CTX_VALUE, wide=True)
    to.read(R3, R6, _CTX_VALUE_END, wide=True)
    to.copy(R4, R2, _ASKED.size)
    to.go_if_above(R4, R3, "refuse")
    to.read(R4, R2, _REALM, wide=True)
    to.go_unless_same(R4, R8, "refuse")
    to.read(R4, R2, _DEVICE)
    to.go_unless_equal(R4, ifindex, "pass")
    to.read(R3, R2, _FAMILY)
    to.read(R4, R7, _SOCK_FAMILY)
    to.go_if_equal(R4, socket.AF_INET, "family")
    to.go_unless_equal(R4, socket.AF_INET6, "refuse")
    to.go_unless_equal(R3, socket.AF_INET6, "refuse")
    to.label("family")
    for offset in (_SOCK_MARK, _SOCK_OWN_PORT, *_SOCK_OWN_ADDRESSES):
        to.read(R2, R7, offset)
        to.go_unless_equal(R2, 0, "refuse")
    to.read(R2, R7, _SOCK_STATE)
    to.go_unless_equal(R2, _TCP_CLOSE, "refuse")
    to.call(_GET_CURRENT_UID_GID)
    to.copy_low(R2, R0)
    to.go_unless_equal(R2, 0, "refuse")
    to.read(R2, R7, _SOCK_TYPE)
    to.read(R3, R7, _SOCK_PROTOCOL)
    to.go_if_equal(R2, socket.SOCK_STREAM, "stream")
    to.go_unless_equal(R2, socket.SOCK_DGRAM, "refuse")
    to.go_unless_equal(R3, socket.IPPROTO_UDP, "refuse")
    _steps(to, {SO_BINDTOIFINDEX: ifindex, socket.SO_REUSEADDR: 0, socket.SO_REUSEPORT: 0})
    to.go("mark")
    to.label("stream")
    to.go_unless_equal(R3, socket.IPPROTO_TCP, "refuse")
    _steps(to, {SO_BINDTOIFINDEX: ifindex, socket.SO_REUSEPORT: 0})
    to.label("mark")
    _steps(to, {socket.SO_MARK: profile.mark})
    to.set(R1, -DONE)
    to.call(_SET_RETVAL)
    to.leave(_REFUSED)
    to.label("pass")
    # What is larger than a page, as the rules of iptables are, may fail (EFAULT) unless the program says that
    # it left it alone (Documentation/bpf/prog_cgroup_sockopt.rst, "Large optval").
    to.read(R2, R6, _CTX_LENGTH)
    to.go_unless_more(R2, _PAGE_BYTES, "small")
    to.write(R6, _CTX_LENGTH, _LEFT_ALONE)
    to.label("small")
    to.leave(_PASSED)
    to.label("refuse")
    to.leave(_REFUSED)
    return to.program()


def _root_of_cgroups() -> Path:
    """Return where the cgroups of version 2 are mounted, from their root on. OSError: nowhere."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        kind = words[words.index("-") + 1]
        if kind == "cgroup2" and words[3] == "/":
            return Path(words[4].encode().decode("unicode_escape"))
    raise OSError(errno.ENOENT, "cgroups of version 2 are not mounted")


def _realm() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        return int.from_bytes(netns_cookie(sock), sys.byteorder)


class OneCall:
    """The program of a device, in the kernel until it is closed, or its process ends."""

    def __init__(self, profile: Profile, ifindex: int) -> None:
        """Put it there, for the network namespace of this thread.

        Args:
            profile: the device's.
            ifindex: its number.

        Raises:
            OSError: the kernel has no such programs, or they cannot set these options; there are no cgroups
                of version 2; or a privilege is missing.
        """
        self._link = -1
        self._realm = _realm()
        self._ifindex = ifindex
        root = os.open(_root_of_cgroups(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            loaded = load(program(profile, ifindex, self._realm), "wsasec_secure", CGROUP_SETSOCKOPT)
            try:
                self._link = attach(loaded, root, CGROUP_SETSOCKOPT)
            finally:
                os.close(loaded)
        finally:
            os.close(root)
        try:
            self._try()
        except BaseException:
            self.close()
            raise

    def _try(self) -> None:
        """See that a socket is secured: what programs may do differs from kernel to kernel."""
        with socket.socket() as sock:
            try:
                sock.setsockopt(*self.option(socket.AF_INET))
            except OSError as error:
                if error.errno == DONE:
                    return
                raise OSError(
                    error.errno, f"a program in the kernel secures no socket: {error.strerror}"
                ) from None
        raise OSError(errno.EOPNOTSUPP, "another program in the kernel answers in place of this one")

    def option(self, family: int) -> tuple[int, int, bytes]:
        """Return level, name and value of the option.

        Args:
            family: that was found ready: socket.AF_INET; socket.AF_INET6 for either.
        """
        return LEVEL, SECURE, _ASKED.pack(self._realm, self._ifindex, family)

    def __enter__(self) -> OneCall:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take it out. Twice is fine."""
        link, self._link = self._link, -1
        if link >= 0:
            os.close(link)
