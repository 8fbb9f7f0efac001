r"""A lab whose ESP is the engine's at both ends: for kernels without ESP.

namespace a                          namespace b
10.9.0.1/24, fd00:9::1/64            10.9.0.2/24, fd00:9::2/64
ws<reqid> --- engine                 engine --- ws<reqid>
     [ a0 ]-------------- veth -------------[ b0 ]
"""

from __future__ import annotations

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal

from ..engine import PORT
from ..profiles import Profile
from .capture import Capture
from .engine_end import EngineEnd
from .keys import Key, draw_spi
from .namespace import Namespace
from .topology import Lab
from .xfrm import AssociationSpec

__all__ = ["EngineLab"]

_WINDOW: Final = 1024


class EngineLab(Lab):
    """Two network namespaces joined by a wire, each with a secure device and an engine.

    As `Lab`: `add_sas` gives each engine the associations with keys drawn at random, the receiver first;
    `rekey` and `remove_sas` likewise.

    Attributes:
        ends: the engines, by the names of their namespaces: "a", "b".
    """

    def __init__(
        self,
        profile: Profile | None = None,
        *,
        encapsulation: Literal["udp", "raw"] = "udp",
        keys: bool = True,
        mtu: int = 1500,
        rules: bool = True,
        threads: int = 1,
        crypto: str | None = None,
        one_call: bool = True,
    ) -> None:
        """Describe a lab; entering it makes it.

        Args:
            profile: None for the built-in default.
            encapsulation: "udp": ESP in UDP, port 4500 at both ends; "raw": as protocol 50 of IP.
            keys: whether it starts with security associations.
            mtu: of the wire, in bytes; 1280 to 65535.
            rules: whether each end has the rules that keep sockets from sending past the device, for which
                the kernel needs nftables. Without them it is for trying the data plane.
            threads: of each engine, each way.
            crypto: of the engines: "ipsec-mb" or "OpenSSL"; None for the fastest that they have.
            one_call: whether one call secures a socket, where there are rules and the kernel can do that.

        Raises:
            ValueError: an argument is none of these.
        """
        super().__init__(profile, keys=keys, mtu=mtu)
        if encapsulation not in ("udp", "raw"):
            raise ValueError(f"encapsulation: {encapsulation!r} is neither 'udp' nor 'raw'")
        self.encapsulation = encapsulation
        self.ends: dict[str, EngineEnd] = {}
        self._rules = rules
        self._threads = threads
        self._crypto = crypto
        self._one_call = one_call
        self._spis: set[int] = set()

    def __enter__(self) -> EngineLab:
        """Make the namespaces, the wire, the engines and the associations.

        Raises:
            LabError: a privilege or something in the kernel is missing; the message names it.
            NotSecureError: the rules cannot be put in place.
            EngineStartError: the engine is missing, or does not start.
            OSError: the kernel refused a step.
        """
        super().__enter__()
        return self

    def _prepare(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wsasec-engines-")))
        for namespace in (self.a, self.b):
            self.ends[namespace.name] = stack.enter_context(
                EngineEnd(
                    namespace,
                    self.profile,
                    encapsulation=self.encapsulation,
                    mtu=self.mtu,
                    rules=self._rules,
                    threads=self._threads,
                    crypto=self._crypto,
                    one_call=self._one_call,
                    control=folder / namespace.name,
                )
            )

    def end(self, namespace: Namespace) -> EngineEnd:
        """Return the engine of a namespace."""
        return self.ends[namespace.name]

    def socket(self, namespace: Namespace, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Make a socket at one end whose traffic is ESP, without `wsasec.secure`. OSError."""
        return self.end(namespace).socket(family, kind, proto)

    def capture(self, end: str = "a") -> Capture:
        """Return a capture as of `Lab`; ESP in UDP counts as ESP if its SPI is one of this lab's."""
        if end not in ("a", "b"):
            raise ValueError(f"end: {end!r} is neither 'a' nor 'b'")
        return Capture(self.a if end == "a" else self.b, spis=self._spis)

    def _spec(self, src: str, dst: str, family: int) -> AssociationSpec:
        p = self.profile
        ports = (PORT, PORT) if self.encapsulation == "udp" else None
        spec = AssociationSpec(
            *(src, dst, family, draw_spi(), p.reqid, p.mark, p.mask), ports=ports, window=_WINDOW
        )
        self._spis.add(spec.spi)
        return spec

    def _add(self, namespace: Namespace, spec: AssociationSpec, key: Key) -> None:
        self.end(namespace).add(spec, key)

    def _remove(self, namespace: Namespace, spec: AssociationSpec) -> None:
        self.end(namespace).remove(spec)

    def packets(self, namespace: Namespace) -> dict[int, int]:
        """Return how many packets each association of one end has counted, by SPI."""
        return self.end(namespace).packets()
