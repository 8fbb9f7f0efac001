"""Two hosts whose profile is carried by secure devices, under capture: nothing passes the wire but ESP."""

from __future__ import annotations

import errno
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from wire import TIMEOUT, Wire

import wsasec
from wsasec import Profile, profiles
from wsasec.engine import EngineStartError, missing
from wsasec.lab import Capture, EngineLab, Namespace

PROFILE = Profile("carried", uuid.UUID(int=0x57A7E), 0x77, 0x60000000, 0xFF000000, carrier="device")
_NOWHERE = bytes((2, 0, 0, 0, 0, 1))


class DeviceWire(Wire):
    """A wire between two secure devices, seen from one address family."""

    def __init__(self, lab: EngineLab, family: socket.AddressFamily, capture: Capture) -> None:
        super().__init__(lab, family, capture, None)
        self.engines = lab
        self.expected_clear: Mapping[str, int] = {}

    def connect(self, sock: socket.socket, address: Any) -> socket.socket:
        """Connect a socket."""
        sock.settimeout(TIMEOUT * 6)
        sock.connect(address)
        return sock

    def keep(self, sock: socket.socket) -> socket.socket:
        """Give a socket a time-out, and close it at the end."""
        super().keep(sock)
        # Sanitizers and busy machines; nothing is measured by it.
        sock.settimeout(TIMEOUT * 6)
        return sock

    @contextmanager
    def lost(self, namespace: Namespace) -> Iterator[None]:
        """Have nobody take what a host sends, for a while; it is seen on the wire all the same."""
        other = self.b if namespace is self.a else self.a
        with other.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
            probe.bind((other.device, 0))
            right = bytes(probe.getsockname()[4])
        self._say_where(namespace, other, _NOWHERE)
        try:
            yield
        finally:
            self._say_where(namespace, other, right)

    @staticmethod
    def _say_where(namespace: Namespace, other: Namespace, hardware: bytes) -> None:
        for address in (other.v4, other.v6):
            words = ["ip", "neigh", "replace", address, "lladdr", hardware.hex(":")]
            namespace.run([*words, "dev", namespace.device, "nud", "permanent"])

    def seen_again(self, more: int) -> None:
        """Wait until so many more ESP packets have passed the wire."""
        now = self.capture.snapshot().esp
        assert self.capture.wait(lambda counts: counts.esp >= now + more, TIMEOUT * 6)


@contextmanager
def device_wire(
    family: socket.AddressFamily, *, esp: bool | None = True, settle: bool = True, **options: Any
) -> Iterator[DeviceWire]:
    """Make the lab with the profile as the default one, and hold what passed the wire against what may.

    Args:
        family: the address family the test is about.
        esp: whether ESP must have passed; None: either.
        settle: wait for the ends of all connections before the capture stops.
        options: of EngineLab.
    """
    if lack := missing(PROFILE):
        pytest.skip("; ".join(lack))
    profiles.use(profiles.Profiles({PROFILE.name: PROFILE}, PROFILE))
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(EngineLab(PROFILE, **options))
        except EngineStartError as error:
            pytest.skip(f"{error}")
        with lab.capture() as capture:
            wire = DeviceWire(lab, family, capture)
            with wire._sockets:
                yield wire
            if settle:
                wire.settle()
        counts = capture.counts
        clear = f"{dict(counts.clear_by_state)}: {[frame.hex() for frame in counts.first_clear]}"
        assert counts.dropped == 0, "the capture missed frames: its counts prove nothing"
        assert counts.ike == 0
        assert counts.clear_by_state == Counter(wire.expected_clear), f"clear packets: {clear}"
        if esp is not None:
            assert (counts.esp > 0) == esp, f"{counts.esp} ESP packets"


def secured_again(wire: DeviceWire, namespace: Namespace, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Secure a socket as soon as the keeper vouches again; until then each attempt has to be refused."""
    deadline = time.monotonic() + TIMEOUT * 6
    while True:
        sock = wire.plain(namespace, kind)
        try:
            wsasec.secure(sock)
        except wsasec.SecurityError:
            sock.close()
            assert time.monotonic() < deadline, "no socket can be secured any more"
            time.sleep(0.02)
        else:
            return sock


# What a program sees where the device, or the way to it, is not there.
REFUSALS = frozenset(
    {errno.ENODEV, errno.ENETUNREACH, errno.ENETDOWN, errno.EPERM, errno.EHOSTUNREACH, errno.EAGAIN}
)


def try_to_send(sock: socket.socket) -> int:
    """Have a datagram socket try it; return the error, 0 where the kernel takes it and drops it."""
    try:
        sock.send(b"in clear?")
    except OSError as error:
        return int(error.errno or 0)
    return 0


__all__ = ["PROFILE", "REFUSALS", "DeviceWire", "device_wire", "secured_again", "try_to_send"]
