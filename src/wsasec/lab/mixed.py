r"""A lab of two hosts with different ESP: a has the engine's, b has the kernel's.

    namespace a                          namespace b
    10.9.0.1/24, fd00:9::1/64            10.9.0.2/24, fd00:9::2/64
    ws1 --- engine                       the kernel's associations and policies
         [ a0 ]-------------- veth -------------[ b0 ]

For the data plane alone: it has none of the rules that keep a socket of a from sending past its device,
for which a kernel needs nftables. What b sends to a, and takes from it, is ESP or nothing, by the system's
policies.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Final, Literal

from ..engine.process import PROGRAM
from ..kernel.links import LinkSocket
from ..profiles import Profile
from .encapsulation import PORT, open_encapsulation
from .engine_end import EngineEnd
from .keys import Key, draw_spi
from .namespace import Namespace
from .topology import Lab
from .xfrm import AES_GCM, CHACHA20_POLY1305, AssociationSpec, XfrmSocket

__all__ = ["ALGORITHMS", "MixedLab"]

ALGORITHMS: Final = {
    "aes-128-gcm": (AES_GCM, 16 + 4),
    "aes-256-gcm": (AES_GCM, 32 + 4),
    "chacha20-poly1305": (CHACHA20_POLY1305, 32 + 4),
}
"""The kernel's name of an algorithm, and the bytes of its key with the salt."""


class MixedLab(Lab):
    """Two network namespaces joined by a wire; the engine at one end, the kernel's ESP at the other.

    Attributes:
        end: the engine's end; only where a has one.
        known: the associations that were installed, with their keys, by SPI; only where they are remembered.
    """

    end: EngineEnd
    # What a busy machine has under way arrives all the same.
    _drain_looks: ClassVar[int] = 10_000

    def __init__(
        self,
        profile: Profile | None = None,
        *,
        keys: bool = True,
        mtu: int = 1500,
        encapsulation: Literal["udp", "raw"] = "udp",
        algorithm: str = "aes-256-gcm",
        esn: bool = True,
        window: int = 1024,
        sent: int = 0,
        near: Literal["engine", "kernel"] = "engine",
        far: Literal["kernel", "program"] = "kernel",
        remember: bool = False,
        program: Path = PROGRAM,
    ) -> None:
        """Describe a lab; entering it makes it.

        Args:
            profile: None for the built-in default.
            keys: whether it starts with security associations.
            mtu: of the wire, in bytes; 1280 to 65535.
            encapsulation: "udp" for ESP in UDP, port 4500 at both ends, "raw" for protocol 50.
            algorithm: one of ALGORITHMS.
            esn: whether sequence numbers have 64 bits.
            window: packets of replay protection; a multiple of 32.
            sent: the sequence number the kernel goes on from, for tests of what happens at 2**32.
            near: whose ESP a has; with the kernel's at both ends the lab tries itself.
            far: whose ESP b has; "program": none, as a program of the test's own makes it.
            program: the engine's.
            remember: keep the keys in `known`, for tests that read the wire.

        Raises:
            ValueError: an argument is none of these.
        """
        super().__init__(profile, keys=keys, mtu=mtu)
        if encapsulation not in ("udp", "raw"):
            raise ValueError(f"encapsulation: {encapsulation!r} is neither 'udp' nor 'raw'")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm: {algorithm!r} is none of {', '.join(ALGORITHMS)}")
        self.encapsulation = encapsulation
        self.algorithm = algorithm
        self.esn = esn
        self.window = window
        self.sent = sent
        self.near = near
        self._program = program
        self.far = far
        self.known: dict[int, tuple[AssociationSpec, Key]] = {}
        self._remember = remember

    def __enter__(self) -> MixedLab:
        """Make the namespaces, the wire, both kinds of ESP and the associations.

        Raises:
            LabError: a privilege, a tool or something in the kernel is missing; the message names it.
            OSError: the kernel refused a step.
        """
        super().__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the engine and what runs in the namespaces, and let go of them."""
        for _, key in self.known.values():
            key.wipe()
        self.known.clear()
        super().__exit__(*exception)

    def socket(self, namespace: Namespace, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Make a socket at one end whose traffic is ESP; at the engine's it is bound to the device.

        Bind it to the address of its host: the device has none. Raises OSError.
        """
        if namespace is self.a and self.near == "engine":
            return self.end.socket(family, kind, proto)
        return namespace.socket(family, kind, proto)

    def kernel_ends(self) -> list[Namespace]:
        """Return the ends whose ESP is the kernel's."""
        return [self.a] * (self.near == "kernel") + [self.b] * (self.far == "kernel")

    def _prepare(self, stack: ExitStack) -> None:
        """Give each end its ESP, once the wire is there."""
        for near, far in ((self.a, self.b), (self.b, self.a)):
            with near.entered(), LinkSocket() as links:
                # Policies of the system hold up neighbour discovery, too.
                links.add_neighbour(near.device, far.v4, self._hardware_address(far))
                links.add_neighbour(near.device, far.v6, self._hardware_address(far))
                links.set_single_segments(near.device)
        if self.near == "engine":
            self.end = stack.enter_context(
                EngineEnd(
                    self.a,
                    self.profile,
                    encapsulation=self.encapsulation,
                    mtu=self.mtu,
                    rules=False,
                    program=self._program,
                )
            )
        for near in self.kernel_ends():
            far = self.b if near is self.a else self.a
            with near.entered(), XfrmSocket() as xfrm:
                for family, own, other in (
                    (socket.AF_INET, near.v4, far.v4),
                    (socket.AF_INET6, near.v6, far.v6),
                ):
                    xfrm.require(other, own, family, 0, self.profile.reqid)
                    xfrm.require(own, other, family, 1, self.profile.reqid)
                    if self.encapsulation == "udp":
                        stack.enter_context(open_encapsulation(family, own))

    @staticmethod
    def _hardware_address(namespace: Namespace) -> bytes:
        with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as probe:
            probe.bind((namespace.device, 0))
            return bytes(probe.getsockname()[4])

    def _spec(self, src: str, dst: str, family: int) -> AssociationSpec:
        p = self.profile
        return AssociationSpec(
            *(src, dst, family, draw_spi(), p.reqid, p.mark, p.mask),
            aead=ALGORITHMS[self.algorithm][0],
            esn=self.esn,
            ports=(PORT, PORT) if self.encapsulation == "udp" else None,
            # An inbound association of the engine begins at 0, as after a negotiation.
            sent=self.sent if self.near == "kernel" or src in (self.b.v4, self.b.v6) else 0,
            window=self.window,
        )

    def _draw_key(self) -> Key:
        return Key(ALGORITHMS[self.algorithm][1])

    def _add(self, namespace: Namespace, spec: AssociationSpec, key: Key) -> None:
        if self._remember and spec.spi not in self.known:
            self.known[spec.spi] = (spec, key.copy())
        if namespace in self.kernel_ends():
            super()._add(namespace, spec, key)
        elif namespace is self.a:
            self.end.add(spec, key)

    def _remove(self, namespace: Namespace, spec: AssociationSpec) -> None:
        if namespace in self.kernel_ends():
            super()._remove(namespace, spec)
        elif namespace is self.a:
            self.end.remove(spec)

    def packets(self, namespace: Namespace) -> dict[int, int]:
        """Return how many packets each association of one end has counted, by SPI."""
        if namespace is self.a and self.near == "engine":
            return self.end.packets()
        return super().packets(namespace)
