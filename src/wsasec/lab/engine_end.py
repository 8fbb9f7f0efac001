"""One end of a wire whose ESP is the engine's: a secure device, what belongs to it, and an engine."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from ..engine import (
    Algorithm,
    Association,
    AssociationName,
    Device,
    Direction,
    Engine,
    Keeper,
    Secret,
    inner_mtu,
    raw,
    udp,
)
from ..engine.process import PROGRAM
from ..engine.routes import Routes
from ..engine.sysctls import Sysctls
from ..kernel.options import SO_BINDTOIFINDEX
from ..profile import Profile
from .errors import LabError
from .keys import Key
from .namespace import Namespace
from .xfrm import CHACHA20_POLY1305, AssociationSpec

__all__ = ["EngineEnd"]


class EngineEnd:
    """The engine of one namespace, with its device. Entering it makes all of it, leaving removes it.

    Attributes:
        namespace: where.
        device: the secure device.
        keeper: what keeps its rules; None where there are none.
        engine: the process.
    """

    namespace: Namespace
    device: Device
    keeper: Keeper | None
    engine: Engine

    def __init__(
        self,
        namespace: Namespace,
        profile: Profile,
        *,
        encapsulation: Literal["udp", "raw"] = "udp",
        mtu: int = 1500,
        rules: bool = True,
        threads: int = 1,
        crypto: str | None = None,
        one_call: bool = True,
        control: Path | None = None,
        program: Path = PROGRAM,
    ) -> None:
        """Describe it.

        Args:
            namespace: with its wire.
            profile: whose device.
            encapsulation: what carries its ESP, from port 4500 or as protocol 50.
            mtu: of the wire, in bytes.
            rules: whether to have the rules that keep sockets from sending past the device, for which the
                kernel needs nftables. Without them it is for trying the data plane.
            threads: of the engine, each way.
            crypto: of the engine: "ipsec-mb" or "OpenSSL"; None for the fastest that it has.
            one_call: whether one call secures a socket, where there are rules and the kernel can do that.
            control: where others can connect to the engine.
            program: the engine's.
        """
        self.namespace = namespace
        self.profile = profile
        self.encapsulation = encapsulation
        self._mtu = mtu
        self._rules = rules
        self._threads = threads
        self._crypto = crypto
        self._one_call = one_call
        self._control = control
        self._program = program
        self._exit = ExitStack()

    def __enter__(self) -> EngineEnd:
        """Make the device and what belongs to it, and start the engine.

        Raises:
            NotSecureError: the rules cannot be put in place.
            EngineStartError: the engine is missing, or does not start.
            LabError: the wire is too narrow.
            OSError: the kernel refused something.
        """
        inner = inner_mtu(self._mtu, self.encapsulation)
        if inner < 1280:
            raise LabError(f"a wire of {self._mtu} bytes is too narrow for IPv6 in ESP", "take a wider one")
        with ExitStack() as stack, self.namespace.entered():
            self.device = Device.create(self.profile, self._threads, mtu=inner)
            stack.callback(self._remove_device)
            transports = []
            for family in (socket.AF_INET, socket.AF_INET6):
                count = self._threads
                opened = udp(family, count) if self.encapsulation == "udp" else raw(family, count)
                transports.append(stack.enter_context(opened))
            self.engine = Engine.start(
                [self.device],
                transports,
                crypto=self._crypto,
                control=self._control,
                program=self._program,
            )
            stack.callback(self.engine.stop)
            self.keeper = None
            if self._rules:
                self.keeper = Keeper(
                    self.device, on_replaced=self.engine.replace_device, one_call=self._one_call
                )
                stack.callback(self._remove_rules, self.keeper)
                self.keeper.start()
                self.keeper.wait()
            else:
                self._route()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _route(self) -> None:
        routes = Routes(self.profile)
        routes.repair(0)
        Sysctls(self.profile).repair()
        self.device.set_up()
        routes.repair(self.device.ifindex)

    def _remove_rules(self, keeper: Keeper) -> None:
        with self.namespace.entered():
            keeper.remove()

    def _remove_device(self) -> None:
        with self.namespace.entered():
            self.device.remove()

    def socket(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """Make a socket whose traffic is ESP: bound to the device, and with its mark. OSError."""
        sock = self.namespace.socket(family, kind, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, self.device.ifindex)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", self.profile.mark))
        except BaseException:
            sock.close()
            raise
        return sock

    def add(self, spec: AssociationSpec, key: Key) -> None:
        """Give the engine an association. EngineError."""
        name = self._name(spec)
        with key.reveal() as material:
            secret = Secret(material)
        try:
            self.engine.control.add_sa(
                Association(
                    name,
                    spec.reqid,
                    _algorithm(spec, len(secret)),
                    secret,
                    ports=spec.ports,
                    esn=spec.esn,
                    window=spec.window if name.direction is Direction.INBOUND else 0,
                )
            )
        finally:
            secret.wipe()

    def remove(self, spec: AssociationSpec) -> None:
        """Delete an association, if it is there. EngineError."""
        try:
            self.engine.control.delete_sa(self._name(spec))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def packets(self) -> dict[int, int]:
        """Return how many packets each association has counted, by SPI."""
        return {state.name.spi: state.packets for state in self.engine.control.sas()}

    def _name(self, spec: AssociationSpec) -> AssociationName:
        outbound = spec.src in (self.namespace.v4, self.namespace.v6)
        return AssociationName(
            ipaddress.ip_address(spec.src),
            ipaddress.ip_address(spec.dst),
            spec.spi,
            Direction.OUTBOUND if outbound else Direction.INBOUND,
        )


def _algorithm(spec: AssociationSpec, length: int) -> Algorithm:
    if spec.aead == CHACHA20_POLY1305:
        return Algorithm.CHACHA20_POLY1305
    return Algorithm.AES_128_GCM if length == Algorithm.AES_128_GCM.key_length else Algorithm.AES_256_GCM
