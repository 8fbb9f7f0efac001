"""The secure device of a profile: a TUN device ``ws<reqid>`` that stays when its process ends."""

from __future__ import annotations

import errno
import os
from typing import Final, Literal

from ..kernel.links import LinkSocket
from ..profile import Profile
from . import tun

__all__ = ["Device", "Encapsulation", "device_name", "gso_size", "inner_mtu", "queue_length"]

Encapsulation = Literal["udp", "raw"]

_PACKET_MOST: Final = 64 << 10
_WAITING_MOST: Final = 8000
_WAITING_LEAST: Final = 500
_OF_THE_MEMORY: Final = 8
_THREADS_MOST: Final = 16
_LEAST_MTU: Final = 1280  # of IPv6 (RFC 8200, section 5)

# Of a packet with UDP encapsulation (RFC 3948) and AES-GCM (RFC 4106): UDP; SPI and sequence number; IV; tag.
_UDP: Final = 8
_ESP: Final = 8 + 8 + 16
_TRAILER: Final = 2
_ALIGNMENT: Final = 4
_IPV6_HEADER: Final = 40
_TCP_HEADER: Final = 32  # with timestamps
_DATAGRAM_MOST: Final = 65507
_SEGMENTS_MOST: Final = 64


def device_name(profile: Profile) -> str:
    """Return the name of a profile's device."""
    return f"ws{profile.reqid}"


def inner_mtu(path_mtu: int, encapsulation: Encapsulation = "udp") -> int:
    """Return how large a packet may be so that it fits the path when it was encrypted.

    Args:
        path_mtu: bytes of the largest packet that the path takes.
        encapsulation: "udp": ESP in UDP, or "raw": as a protocol of IP.
    """
    overhead = _ESP + (_UDP if encapsulation == "udp" else 0)
    # The header of IP is there once, before and after: transport mode. That of IPv4 leaves as much.
    body = path_mtu - _IPV6_HEADER - overhead
    return body - body % _ALIGNMENT - _TRAILER + _IPV6_HEADER


def gso_size(mtu: int) -> int:
    """Return how large a packet that the engine cuts may be, so that one call sends all of its segments.

    Args:
        mtu: of the device, in bytes.
    """
    segments = min(_SEGMENTS_MOST, _DATAGRAM_MOST // (mtu + _ESP + _TRAILER + _ALIGNMENT - 1))
    headers = _IPV6_HEADER + _TCP_HEADER
    return min(65535, max(1, segments) * (mtu - headers) + headers)


def queue_length(queues: int, memory: int) -> int:
    """Return how many packets may wait in each queue of a device.

    What waits counts against no socket's buffer. So where all are as large as they get, those of a device are
    at most an eighth of the memory, unless there is less than a quarter of a gigabyte for a queue.

    Args:
        queues: of the device.
        memory: bytes that the machine has.
    """
    most = memory // _OF_THE_MEMORY // _PACKET_MOST // queues
    return min(_WAITING_MOST, max(_WAITING_LEAST, most))


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Device:
    """The TUN device of a profile, with its queues, in one network namespace.

    Sockets that are bound to it send into its queues, which an engine serves. The device stays when this
    object, or the process, ends: what is sent then is lost, never sent in clear.

    Attributes:
        profile: whose it is.
        name: its name.
        ifindex: its number in the namespace; the same when it was made again.
        mtu: bytes of its largest packet.
        threads: of the engine, each way, that it has queues for.
        bulk: whether each of these has two, the second for flows that send much.
        queues: descriptors, for the engine; this object's own. The second ones are behind all first ones.
    """

    def __init__(self, profile: Profile, mtu: int, threads: int, *, bulk: bool) -> None:
        """Describe it; `create` makes it."""
        if not _LEAST_MTU <= mtu <= 65535:
            raise ValueError(f"mtu: {mtu!r} is not {_LEAST_MTU} to 65535 bytes")
        if not 1 <= threads <= _THREADS_MOST:
            raise ValueError(f"threads: {threads!r} is not 1 to {_THREADS_MOST}")
        self.profile = profile
        self.name = device_name(profile)
        self.mtu = mtu
        self.ifindex = 0
        self.threads = threads
        self.bulk = bulk
        self.queues: list[int] = []

    def __repr__(self) -> str:
        return f"<Device {self.name} index {self.ifindex} with {len(self.queues)} queues>"

    @classmethod
    def create(
        cls,
        profile: Profile,
        threads: int = 1,
        *,
        mtu: int | None = None,
        ifindex: int = 0,
        bulk: bool = True,
    ) -> Device:
        """Make the device of a profile, or take the one that is there, in the namespace of this thread.

        It is down, and no socket can be secured by it, until `Keeper` has put up what belongs to it.

        Args:
            profile: whose.
            threads: of the engine, each way; each has a queue.
            mtu: bytes of a packet before it is encrypted; None for what fits 1,500 bytes.
            ifindex: the number that it gets if it is made; 0 for any. With the number of one that is gone, it
                has that one's sockets.
            bulk: whether each thread has a second one, for flows that send much: others need not wait behind
                these. False for who reads the queues himself, and wants all in one.

        Raises:
            ValueError: a number is out of range.
            OSError: the kernel has no TUN devices, CAP_NET_ADMIN is missing, or a device of this name is of
                another kind (EBUSY).
        """
        device = cls(profile, inner_mtu(1500) if mtu is None else mtu, threads, bulk=bulk)
        device._open(ifindex)
        return device

    def recreate(self) -> None:
        """Make it again after it was removed, with the number that it had, so that its sockets live on.

        Raises:
            OSError: the number is another device's now (EBUSY), or as `create`.
        """
        self.close()
        self._open(self.ifindex)

    def _open(self, ifindex: int) -> None:
        count = self.threads * (1 + self.bulk)
        with LinkSocket() as links:
            self._make_room(links)
            try:
                self.queues = [tun.attach(self.name, ifindex)]
                while len(self.queues) < count:  # one by one: close() knows those before a failure
                    self.queues.append(tun.attach(self.name))
                for fd in self.queues:
                    tun.set_offload(fd)
                links.configure(
                    self.name,
                    mtu=self.mtu,
                    queue_length=queue_length(count, _memory()),
                    gso_max_size=gso_size(self.mtu),
                )
                _without_own_addresses(links, self.name)
                found = links.link(self.name)
                if found is None or (ifindex and found.index != ifindex):
                    raise OSError(errno.EBUSY, f"the device {self.name} did not get the number {ifindex}")
                # Last: whatever fails before leaves nothing.
                tun.set_persistent(self.queues[0], persistent=True)
            except BaseException:
                self.close()
                raise
        self.ifindex = found.index

    def _make_room(self, links: LinkSocket) -> None:
        """Remove a TUN device of this name that cannot be used."""
        found = links.link(self.name)
        if found is None:
            return
        if found.kind != "tun":
            kind = found.kind or "other"
            raise OSError(errno.EBUSY, f"there is a device {self.name} of the kind {kind}; rename it")
        try:
            os.close(tun.attach(self.name))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            if found.carrier:
                text = f"there is a TUN device {self.name} that another program uses; end it, or rename it"
                raise OSError(errno.EBUSY, text) from None
            links.remove(self.name)

    def is_there(self) -> bool:
        """Whether it is there with these queues, and not another of its name and number. OSError."""
        with LinkSocket() as links:
            found = links.link(self.name)
        if found is None or found.index != self.ifindex or found.kind != "tun":
            return False
        return bool(self.queues) and all(tun.is_of(fd, self.name) for fd in self.queues)

    def set_up(self) -> None:
        """Set it up. OSError (ENODEV): it is gone."""
        with LinkSocket() as links:
            links.set_up(self.name)

    def close(self) -> None:
        """Let go of the queues; the device stays, and what is sent into it is lost."""
        queues, self.queues = self.queues, []
        for fd in queues:
            os.close(fd)

    def remove(self) -> None:
        """Remove the device; `Keeper.remove` comes first. OSError.

        Sockets that are bound to it cannot send from now on.
        """
        self.close()
        with LinkSocket() as links:
            try:
                links.remove(self.name)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise


def _without_own_addresses(links: LinkSocket, name: str) -> None:
    try:
        links.without_own_addresses(name)
    except OSError as error:
        # Without IPv6 there is none that it could get.
        if error.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL):
            raise
