"""The kernel's ACQUIREs: it has a packet of a secured socket, and no SA for it.

It tells once for each destination and then waits for net.core.xfrm_acq_expires seconds, with a larval SA (one
without SPI and keys) in its table. What was missed is found there.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..kernel.netlink import attributes, messages
from ..kernel.xfrm import NETLINK_XFRM, SA, XfrmTable
from .associations import Address

__all__ = ["Acquire", "AcquireListener", "parse_acquires"]

_GROUP_ACQUIRE: Final = 1
_MSG_ACQUIRE: Final = 0x17
_ATTR_TMPL: Final = 5

# struct xfrm_user_acquire: id; saddr; selector; policy; aalgos, ealgos, calgos, seq.
_ACQUIRE: Final = struct.Struct("=16s4sB3x 16s 40xH6xi4x 168x 16x")
assert _ACQUIRE.size == 280  # noqa: S101
# struct xfrm_user_tmpl: id; family; saddr; reqid; mode, share, optional; aalgos, ealgos, calgos.
_TMPL: Final = struct.Struct("=16s4sB3x H2x 16s I 3Bx 3I")
assert _TMPL.size == 64  # noqa: S101

_RECEIVE_BUFFER: Final = 1 << 20
_SO_RCVBUFFORCE: Final = 33
_LATER: Final = 0.1


@dataclass(frozen=True, slots=True)
class Acquire:
    """What the kernel asks for.

    Attributes:
        reqid: of the template of the socket's policy.
        source: from where; None where the kernel has not said.
        destination: where to; a link-local address has its scope.
    """

    reqid: int
    source: Address | None
    destination: Address


def _address(data: bytes, family: int, device: int = 0) -> Address | None:
    """Return an address of the kernel's, None for none at all."""
    if family == socket.AF_INET:
        return IPv4Address(data[:4]) if any(data[:4]) else None
    if family != socket.AF_INET6 or not any(data):
        return None
    address = IPv6Address(data)
    return IPv6Address(f"{address}%{device}") if address.is_link_local and device else address


def _acquire(payload: memoryview) -> Iterator[Acquire]:
    destination, _, _, source, family, device = _ACQUIRE.unpack_from(payload)
    peer = _address(destination, family, max(0, device))
    if peer is None:
        return
    for kind, value in attributes(payload[_ACQUIRE.size :]):
        if kind == _ATTR_TMPL:
            for at in range(0, len(value) - _TMPL.size + 1, _TMPL.size):
                reqid = _TMPL.unpack_from(value, at)[5]
                yield Acquire(reqid, _address(source, family), peer)


def parse_acquires(data: bytes | memoryview) -> list[Acquire]:
    """Read ACQUIREs; what is cut off or of another kind is left out."""
    return [
        acquire
        for kind, _, payload in messages(memoryview(data))
        if kind == _MSG_ACQUIRE and len(payload) >= _ACQUIRE.size
        for acquire in _acquire(payload)
    ]


def _waited_for(sa: SA) -> Acquire | None:
    """Return what the kernel waits for with a larval SA; None of others. These do not tell the device."""
    if sa.spi or sa.usable:
        return None
    family = socket.AF_INET6 if ":" in sa.dst else socket.AF_INET
    peer = _address(socket.inet_pton(family, sa.dst), family)
    source = _address(socket.inet_pton(family, sa.src), family)
    # Where a link-local address is, nobody could say any more.
    if peer is None or (isinstance(peer, IPv6Address) and peer.is_link_local):
        return None
    return Acquire(sa.reqid, source, peer)


class AcquireListener:
    """A thread that hears the ACQUIREs of the network namespace in which it was made."""

    def __init__(self, callback: Callable[[Acquire], None], every: float | None = None) -> None:
        """Listen from now on; calls begin with start().

        Args:
            callback: called from the thread, for every template of every ACQUIRE; it must not block.
            every: seconds after which all that the kernel still waits for is told again; None for never.

        Raises:
            OSError: the kernel has no XFRM.
        """
        self._callback = callback
        self._every = every
        self._thread: threading.Thread | None = None
        self._again = threading.Event()
        self._ended = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._socket = _listening()
        except OSError:
            os.close(self._wake)
            raise

    def start(self) -> None:
        """Begin, with what the kernel waits for already."""
        self._again.set()
        self._thread = threading.Thread(target=self._run, name="wsasec-acquire")
        self._thread.start()

    def look_again(self) -> None:
        """Have all that the kernel waits for now told again, from the thread: something was left undone."""
        self._again.set()
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the thread and let go. Twice is fine; not from the callback."""
        if self._ended:
            return
        self._ended = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        os.close(self._wake)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            looked = 0.0
            while not self._ended:
                due = self._every is not None and time.monotonic() - looked >= self._every
                if due or self._again.is_set():
                    self._again.clear()
                    looked = time.monotonic()
                    self._find_waiting()
                # What could not be looked for is looked for again a moment later.
                for key, _ in selector.select(_LATER if self._again.is_set() else self._every):
                    if key.fileobj is self._socket:
                        self._receive()
                    else:
                        os.eventfd_read(self._wake)

    def _receive(self) -> None:
        try:
            data, sender = self._socket.recvfrom(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            # Some were dropped: more came than were read.
            self._again.set()
            return
        if sender[0] == 0:  # the kernel
            self._tell(parse_acquires(data))

    def _find_waiting(self) -> None:
        try:
            with XfrmTable() as table:
                found = [_waited_for(sa) for sa in table.associations()]
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOBUFS, errno.ENOMEM):
                raise
            self._again.set()
            return
        self._tell([acquire for acquire in found if acquire is not None])

    def _tell(self, acquires: list[Acquire]) -> None:
        for acquire in acquires:
            self._callback(acquire)


def _listening() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_XFRM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        sock.bind((0, 1 << (_GROUP_ACQUIRE - 1)))
    except OSError:
        sock.close()
        raise
    return sock
