r"""The lab's network: two hosts on one wire.

    namespace a                          namespace b
    10.9.0.1/24, fd00:9::1/64            10.9.0.2/24, fd00:9::2/64
         [ a0 ]-------------- veth -------------[ b0 ]

Security associations: a -> b and b -> a, for IPv4 and IPv6, each known to both ends.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import ExitStack, suppress
from typing import ClassVar, Final

from ..kernel.links import LinkSocket
from ..profiles import DEFAULT, Profile
from .capture import Capture
from .children import kill_inside
from .errors import LabError
from .keys import AEAD_KEY_BYTES, AUTH_KEY_BYTES, Key, draw_spi
from .namespace import Namespace
from .xfrm import AssociationSpec, XfrmSocket

__all__ = ["Lab"]

# An association, its sender and its receiver.
_Installed = tuple[AssociationSpec, Namespace, Namespace]

_DRAIN_STEP: Final = 0.002
_SECOND_STEP: Final = 0.005
_CLOCK_REALTIME_COARSE: Final = 5


def _second() -> int:
    """Return the time as the kernel has it when it notes the second of something."""
    return int(time.clock_gettime(_CLOCK_REALTIME_COARSE))


class Lab:
    """Two network namespaces joined by a wire, with security associations for one profile.

    Attributes:
        a: the namespace with 10.9.0.1 and fd00:9::1.
        b: the namespace with 10.9.0.2 and fd00:9::2.
        profile: whose reqid and mark the associations carry.
    """

    a: Namespace
    b: Namespace
    profile: Profile
    # Not seconds, which a machine may spend on others: between two looks what is under way has the processor.
    _drain_looks: ClassVar[int] = 250

    def __init__(
        self,
        profile: Profile | None = None,
        *,
        keys: bool = True,
        integrity_only: bool = False,
        mtu: int = 1500,
    ) -> None:
        """Describe a lab; entering it makes it.

        Args:
            profile: None for the built-in default.
            keys: whether it starts with security associations.
            integrity_only: authenticate, do not encrypt: tests can then read what an ESP packet carries.
                Never for traffic that matters, whatever the profile says.
            mtu: of the wire, in bytes; 1280 to 65535.

        Raises:
            ValueError: the mtu is too small for IPv6, or too large.
        """
        if not 1280 <= mtu <= 65535:
            raise ValueError(f"mtu: {mtu!r} is not 1280 to 65535 bytes")
        self.profile = DEFAULT if profile is None else profile
        self.integrity_only = integrity_only
        self.mtu = mtu
        self._keys = keys
        self._exit = ExitStack()
        self._associations: list[_Installed] = []
        self._last_second = 0

    def __enter__(self) -> Lab:
        """Make the namespaces, the wire and the associations.

        Raises:
            LabError: a privilege, a tool or something in the kernel is missing; the message names it.
            OSError: the kernel refused a step.
        """
        with ExitStack() as stack:
            self.a = stack.enter_context(Namespace("a", v4="10.9.0.1", v6="fd00:9::1", device="a0"))
            self.b = stack.enter_context(Namespace("b", v4="10.9.0.2", v6="fd00:9::2", device="b0"))
            stack.callback(kill_inside, {self.a.identity, self.b.identity})
            self._join()
            self._prepare(stack)
            if self._keys:
                self.add_sas()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what still runs in the namespaces and let go of them; the kernel removes the rest."""
        self._associations.clear()
        self._exit.close()

    def capture(self, end: str = "a") -> Capture:
        """Return a capture of everything that passes the wire, both ways, as seen at one end: "a" or "b"."""
        if end not in ("a", "b"):
            raise ValueError(f"end: {end!r} is neither 'a' nor 'b'")
        return Capture(self.a if end == "a" else self.b, inner=self.integrity_only)

    def _join(self) -> None:
        with self.a.entered(), LinkSocket() as links:
            try:
                links.add_veth(self.a.device, self.b.device, self.b.fd, self.mtu)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    raise LabError("this kernel has no veth devices", "modprobe veth") from error
                raise
        for namespace in (self.a, self.b):
            device = namespace.device
            with suppress(FileNotFoundError):  # a kernel without IPv6 says so below, at its address
                # Nothing but what the tests send: no duplicate address detection, no router solicitations.
                namespace.sysctl(f"net.ipv6.conf.{device}.accept_dad", 0)
                namespace.sysctl(f"net.ipv6.conf.{device}.router_solicitations", 0)
            with namespace.entered(), LinkSocket() as links:
                links.add_address(device, namespace.v4, 24)
                links.add_address(device, namespace.v6, 64)
                links.set_up(device)

    def _prepare(self, stack: ExitStack) -> None:
        """Add to the two hosts, once the wire is there, what the stack removes at the end; here nothing."""

    def add_sas(self, *, ipv4: bool = True, ipv6: bool = True) -> None:
        """Install one association per direction and family, with new SPIs and new keys each time.

        The receiver gets it first, then the sender, which uses the newest: nothing is lost and nothing fails
        in between. Where there are others, this waits until it is another second than theirs: the kernel
        sends under the association of the latest second, and of several under the first that it finds, which
        is another one once its table has grown. A key is never used again: with AES-GCM that would break it.

        Raises:
            LabError: the kernel has no XFRM or no ESP.
            OSError: the kernel refused an association.
        """
        self._install(self._draw(ipv4=ipv4, ipv6=ipv6))

    def _draw(self, *, ipv4: bool, ipv6: bool) -> list[_Installed]:
        drawn: list[_Installed] = []
        families = [socket.AF_INET] * ipv4 + [socket.AF_INET6] * ipv6
        for family in families:
            for sender, receiver in ((self.a, self.b), (self.b, self.a)):
                ends = (sender, receiver)
                src, dst = (end.v4 if family == socket.AF_INET else end.v6 for end in ends)
                drawn.append((self._spec(src, dst, family), sender, receiver))
        return drawn

    def _spec(self, src: str, dst: str, family: int) -> AssociationSpec:
        """Describe a new association."""
        p = self.profile
        return AssociationSpec(src, dst, family, draw_spi(), p.reqid, p.mark, p.mask)

    def _draw_key(self) -> Key:
        return Key(AUTH_KEY_BYTES if self.integrity_only else AEAD_KEY_BYTES)

    def _add(self, namespace: Namespace, spec: AssociationSpec, key: Key) -> None:
        """Install an association at one end."""
        with namespace.entered(), XfrmSocket() as xfrm:
            xfrm.add(spec, key, integrity_only=self.integrity_only)

    def _install(self, drawn: list[_Installed]) -> None:
        while self._associations and _second() <= self._last_second:
            time.sleep(_SECOND_STEP)
        for spec, sender, receiver in drawn:
            key = self._draw_key()
            try:
                self._associations.append((spec, sender, receiver))
                for namespace in (receiver, sender):
                    self._add(namespace, spec, key)
            except OSError as error:
                if error.errno in (errno.EPROTONOSUPPORT, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise LabError(
                        f"this kernel has no ESP, or not its algorithms: {error.strerror}",
                        "run it with `wsasec lab run -- COMMAND`",
                    ) from error
                raise
            finally:
                key.wipe()
                self._last_second = _second()

    def remove_sas(self) -> None:
        """Delete the associations that add_sas() and rekey() made; those already gone do not matter."""
        old, self._associations = self._associations, []
        self._delete(old)

    def _delete(self, old: list[_Installed]) -> None:
        for spec, sender, receiver in old:
            for namespace in (sender, receiver):
                self._remove(namespace, spec)

    def _remove(self, namespace: Namespace, spec: AssociationSpec) -> None:
        """Delete an association at one end, if it is there."""
        with namespace.entered(), XfrmSocket() as xfrm:
            try:
                xfrm.remove(spec)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise

    def packets(self, namespace: Namespace) -> dict[int, int]:
        """Return how many packets each association of one end has counted, by SPI."""
        return {sa.spi: sa.packets for sa in namespace.sas()}

    def rekey(self) -> None:
        """Replace the associations under traffic without losing a packet.

        New ones at the receivers, then at the senders, and in another second, as add_sas() does it; the old
        ones go when all that was sent under them has arrived, or after half a second or more if something was
        lost on the wire.
        """
        old = list(self._associations)
        self._install(
            self._draw(
                ipv4=any(spec.family == socket.AF_INET for spec, _, _ in old),
                ipv6=any(spec.family == socket.AF_INET6 for spec, _, _ in old),
            )
        )
        for _ in range(self._drain_looks):
            if self._drained(old):
                break
            time.sleep(_DRAIN_STEP)
        self._associations = [entry for entry in self._associations if entry not in old]
        self._delete(old)

    def _drained(self, old: list[_Installed]) -> bool:
        """Whether the receivers have counted every packet that the senders have."""
        counted = {end: self.packets(end) for end in (self.a, self.b)}
        return all(
            counted[receiver].get(spec.spi, 0) >= counted[sender].get(spec.spi, 0)
            for spec, sender, receiver in old
        )
