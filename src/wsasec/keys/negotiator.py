"""Negotiation when it is needed, by whom it may be, and what came of it."""

from __future__ import annotations

from ..config.model import Config, KeyProfile
from ..daemon.protocol import NameFlag
from .associations import Address
from .layer import IkeLayer
from .programs import Program
from .verdict import Association, Verdict

__all__ = ["Negotiator"]


class Negotiator:
    """Decides who is negotiated with, and whether it is who it should be. All methods may be called from any thread.

    Deadlines are points of time.monotonic(), in seconds. Descriptors stay the caller's, and must be open during the
    call; they must be sockets of this network namespace. `peer` is an address without its port (IPsec does not
    tell ports apart); None is the peer that the socket is connected to. An IPv6 address that is link-local has
    its scope: ip_address("fe80::1%3").

    No method raises for what a peer, charon or a program did wrong: that is in the verdict.
    """

    def __init__(self, ike: IkeLayer, config: Config) -> None:
        """Describe it. The profiles must be in use in this process by then (wsasec.profiles.use)."""

    def start(self) -> None:
        """Listen to the kernel, and take over what is there: see take_over(). charon must run.

        Raises:
            OSError: the kernel has no XFRM, or no privilege.
        """

    def close(self) -> None:
        """End all threads; negotiations that wait are told NO_CHARON. Twice is fine."""

    def configure(self, config: Config) -> None:
        """Use other profiles from now on; names and pins stay."""

    def take_over(self, deadline: float) -> Verdict:
        """After charon was started anew: hold pins again and remove SAs of ours that charon does not know."""

    def negotiate(self, profile: KeyProfile, source: Address | None, peer: Address, deadline: float) -> Verdict:
        """Have a pair of SAs with a peer; at once if there is one. Names do not count here.

        Args:
            profile: of which.
            source: this host's address; None: the one that the kernel's routing takes.
            peer: whom with.
            deadline: until when it waits; the negotiation may go on after it.
        """

    def verify(self, fd: int, peer: Address | None, deadline: float) -> Verdict:
        """NEGOTIATE: have SAs for a socket, hold its names against its peer, and let it send."""

    def hold(self, fd: int) -> Verdict:
        """HOLD: a socket with names cannot send until verify()."""

    def set_name(
        self, fd: int, peer: Address | None, name: str, flags: NameFlag, program: Program, deadline: float
    ) -> Verdict:
        """SET_NAME: the socket cannot send until this name was found at its peer.

        Stream sockets: one name, whose peer is told at verify(); another one replaces it. Datagram sockets: one
        name for each address, held against it here; after a failure the socket stays shut until the name was
        deleted or verified.
        """

    def delete_name(self, fd: int, peer: Address | None) -> Verdict:
        """DELETE_NAME: of stream sockets that which there is, of datagram sockets that of an address."""

    def program_ended(self, program: Program) -> None:
        """Forget the names of a program, and pins that nobody needs any more."""

    def association_of(self, fd: int, peer: Address | None, deadline: float) -> Association:
        """QUERY: what protects packets between this socket and a peer now."""

    def identity_of(self, fd: int, peer: Address | None, deadline: float) -> tuple[Verdict, str]:
        """ACCOUNT: who authenticated as the peer, as charon writes it."""
