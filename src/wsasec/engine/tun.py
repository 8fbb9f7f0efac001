"""Queues of a TUN device: descriptors that read what the kernel sends, and write what it is to receive."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

__all__ = ["CONTROL", "attach", "is_of", "set_offload", "set_persistent"]

CONTROL: Final = Path("/dev/net/tun")

_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNGETIFF: Final = 0x800454D2
_TUNSETIFINDEX: Final = 0x400454DA

_IFF_TUN: Final = 0x0001
_IFF_MULTI_QUEUE: Final = 0x0100
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_FLAGS: Final = _IFF_TUN | _IFF_MULTI_QUEUE | _IFF_NO_PI | _IFF_VNET_HDR

_CSUM: Final = 0x01
_TSO4: Final = 0x02
_TSO6: Final = 0x04
_TSO_ECN: Final = 0x08
_USO4: Final = 0x20  # since Linux 6.2
_USO6: Final = 0x40
_ALL: Final = _CSUM | _TSO4 | _TSO6 | _TSO_ECN | _USO4 | _USO6

# struct ifreq: a name, and here flags.
_IFREQ: Final = struct.Struct("=16sH22x")


def attach(name: str, ifindex: int = 0) -> int:
    """Open a queue of a device, which is made if it is not there.

    Args:
        name: of the device.
        ifindex: the number that it gets if it is made; 0 for any.

    Returns:
        A descriptor that does not block and is not inherited.

    Raises:
        OSError: the kernel has no TUN devices, or CAP_NET_ADMIN is missing; EBUSY: a device of this name is
            no TUN device, or the number is another's; EINVAL: it has one queue, or no headers of packets.
    """
    try:
        fd = os.open(CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        remedy = {
            errno.ENOENT: "modprobe tun, or give the container /dev/net/tun",
            errno.ENXIO: "modprobe tun",
            errno.ENODEV: "modprobe tun",
        }.get(error.errno or 0, "run it as root")
        text = f"{CONTROL} cannot be opened: {error.strerror}; {remedy}"
        raise OSError(error.errno, text) from error
    try:
        if ifindex:
            fcntl.ioctl(fd, _TUNSETIFINDEX, struct.pack("=I", ifindex))
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), _FLAGS))
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, f"the TUN device {name}: {error.strerror}") from error
    return fd


def is_of(fd: int, name: str) -> bool:
    """Whether a queue is one of the device that has this name; not, once that was removed."""
    try:
        answer = fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size))
    except OSError:
        return False
    return bytes(_IFREQ.unpack(answer)[0]).split(b"\0", 1)[0] == name.encode()


def set_persistent(fd: int, *, persistent: bool) -> None:
    """Say whether the device stays when its last queue is closed. OSError."""
    fcntl.ioctl(fd, _TUNSETPERSIST, int(persistent))


def set_offload(fd: int) -> None:
    """Have large packets handed out as they are: of TCP, and of UDP where the kernel can. OSError."""
    try:
        fcntl.ioctl(fd, _TUNSETOFFLOAD, _ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.ioctl(fd, _TUNSETOFFLOAD, _ALL & ~(_USO4 | _USO6))
