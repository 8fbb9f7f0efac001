"""Negotiation when it is needed, with whom it may be, and what came of it."""

from __future__ import annotations

import errno
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..config.model import Config, KeyProfile
from ..daemon.protocol import AbortFlag, NameFlag
from ..kernel.sockdiag import TcpTable
from .acquire import Acquire
from .associations import Address, Event
from .background import Background
from .carrier import Acquires, Carrier, KernelCarrier
from .known import Known
from .layer import IkeLayer
from .named import Named, NamedSocket, PeerName, TooManyNamesError
from .names import NameFormError, parse
from .negotiations import Negotiations
from .pairs import Sas
from .pins import Pins
from .pins_file import PinsFile
from .programs import Program
from .query import Query
from .reason import CharonError, Reason
from .settings import ACQUIRE_SECONDS
from .sockets import Gate, SocketFacts, facts, tcp_connection
from .stale import remove_stale
from .tied import Ids, Route, Tied
from .ties_file import TiesFile
from .verdict import Association, Verdict, failed
from .verifier import Verifier

__all__ = ["Negotiator"]

_REASONS: Final = {
    errno.ENOTSOCK: Reason.NOT_A_SOCKET,
    errno.EBADF: Reason.NOT_A_SOCKET,
    errno.EAFNOSUPPORT: Reason.FAMILY,
    errno.EPERM: Reason.PRIVILEGE,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENOTCONN: Reason.NOT_CONNECTED,
}


def _failure(error: OSError) -> Verdict:
    return failed(_REASONS.get(error.errno or 0, Reason.SYSTEM), error.strerror or str(error))


class Negotiator:
    """Decides who is negotiated with, and whether it is who it should be. For any thread.

    Deadlines are points of time.monotonic(), in seconds. Descriptors stay the caller's, and must be open
    during the call; they must be sockets of this network namespace. `peer` is an address without its port
    (IPsec does not tell ports apart); None is the peer that the socket is connected to. An IPv6 address that
    is link-local has its scope: ip_address("fe80::1%3").

    No method raises for what a peer, charon or a program did wrong: that is in the verdict.
    """

    def __init__(
        self,
        ike: IkeLayer,
        config: Config,
        sas: Sas | None = None,
        ties: Path | None = None,
        pins: PinsFile | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        """Describe it. The profiles must be in use in this process: wsasec.profiles.use().

        Args:
            ike: charon's layer.
            config: whose profiles there are.
            sas: None for the carrier's.
            ties: file for connections that are to be aborted if this process is killed; see ties_file.
            pins: file for pins, so that they outlast this process; the caller closes it, after close().
            carrier: who has the associations; None: the kernel, in the calling thread's network namespace.
        """
        self._ike = ike
        self._config = config
        self._carrier: Carrier = KernelCarrier() if carrier is None else carrier
        self._sas = self._carrier.sas() if sas is None else sas
        self._gate = Gate()
        self._named = Named()
        self._known = Known(ike)
        self._pins = Pins(ike, pins)
        self._negotiations = Negotiations(ike, self._sas, config.first_seconds)
        self._verifier = Verifier(ike, self._sas, self._negotiations, self._known, self._pins, self._reqids)
        self._query = Query(ike, self._sas, self._known)
        self._background: Background | None = None
        self._listener: Acquires | None = None
        self._tied: Tied | None = None
        self._ties = ties
        ike.watch(self._happened)

    def start(self) -> None:
        """Take over what is there, see take_over(), and listen to the kernel. charon must run.

        Raises:
            OSError: the kernel has no XFRM, or no privilege.
        """
        # A charon of others has the kernel wait for minutes before it asks again; that is not ours to change.
        every = None if self._config.vici is None else float(ACQUIRE_SECONDS)
        listener = self._carrier.acquires(self._acquired, every)
        self._listener = listener
        self._background = Background(self._work, listener.look_again)
        self.take_over(time.monotonic() + self._config.first_seconds)
        listener.start()
        self._tied = Tied(
            *(self._sas, self._known, TcpTable(), self._carrier.changes()),
            None if self._ties is None else TiesFile(self._ties),
        )
        self._tied.start()

    def abort_tied(self) -> None:
        """Abort all connections that are tied to their associations, and tie none any more. Twice is fine.

        Before charon ends: the peers are told in ESP.
        """
        if self._tied is not None:
            self._tied.close()

    def close(self) -> None:
        """End all threads; who waits is told NO_CHARON. Twice is fine.

        It waits for negotiations that are under way: end charon before.
        """
        self.abort_tied()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._negotiations.close()
        if self._background is not None:
            self._background.close()
        self._pins.close()

    def configure(self, config: Config) -> None:
        """Use other profiles from now on; names and pins stay. Ike must have loaded it before."""
        self._config = config
        self._negotiations.seconds = config.first_seconds
        self._pins.check()
        self._negotiations.forget_failures()

    def take_over(self, deadline: float) -> Verdict:
        """After charon was started, also anew: remove SAs of ours that it does not know.

        Pins are charon's layer's to remember: it puts them up before anybody can negotiate.
        """
        self._negotiations.forget_failures()
        try:
            reqids = {p.profile.reqid for p in self._config.profiles.values()}
            remove_stale(self._known, self._sas, reqids, deadline)
            self._pins.try_again()
        except CharonError as error:
            return failed(error.reason, error.detail)
        except OSError as error:
            return _failure(error)
        return Verdict()

    # What others tell

    def _happened(self, event: Event) -> None:
        self._known.happened(event)
        if self._tied is not None:
            self._tied.happened(event)
        if event.kind == "child-updown" and event.up:
            self._negotiations.forget_failures()

    def _acquired(self, acquire: Acquire) -> None:
        background = self._background
        if background is not None and self._profile_of_reqid(acquire.reqid) is not None:
            background.add(acquire)

    def _work(self, acquire: Acquire) -> None:
        profile = self._profile_of_reqid(acquire.reqid)
        if profile is not None:
            deadline = time.monotonic() + self._config.first_seconds
            self._negotiations.run(profile, acquire.source, acquire.destination, deadline)

    # Profiles

    def _profile_of_reqid(self, reqid: int) -> KeyProfile | None:
        return next((p for p in self._config.profiles.values() if p.profile.reqid == reqid), None)

    def _profile_of_mark(self, mark: int) -> KeyProfile | None:
        for profile in self._config.profiles.values():
            if mark & profile.profile.mask == profile.profile.mark:
                return profile
        return None

    def _reqids(self, group: str) -> Collection[int]:
        found = set()
        for name, profile in self._config.profiles.items():
            if self._ike.group(name) == group:
                found.add(profile.profile.reqid)
        return found

    # Negotiation

    def negotiate(
        self, profile: KeyProfile, source: Address | None, peer: Address, deadline: float
    ) -> Verdict:
        """Have a pair of SAs with a peer; at once if there is one. Names do not count here.

        Args:
            profile: of which.
            source: this host's address; None: the one that the kernel's routing takes.
            peer: whom with.
            deadline: until when it waits; the negotiation may go on after it.
        """
        return self._negotiations.run(profile, source, peer, deadline)

    def verify(self, fd: int, peer: Address | None, deadline: float) -> Verdict:
        """NEGOTIATE: have SAs for a socket, hold its names against its peer, and let it send.

        For a socket that need not be secured (ALLOW_INSECURE; it has no mark) the default profile's are made.
        """
        try:
            asked = facts(fd)
            target = peer or asked.peer
            if target is None:
                return failed(Reason.NOT_CONNECTED)
            profile = self._profile_of_mark(asked.mark)
            if profile is None:
                # It goes on in clear when there is no good answer, and that after a time which is configured.
                deadline = min(deadline, time.monotonic() + self._config.first_seconds)
                profile = self._config.profiles[self._config.default]
            own = self._own_address(asked, target, profile)
            sock = self._named.get(asked.cookie)
            if sock is None:
                return self._negotiations.run(profile, own, target, deadline)
            with sock.lock:
                return self._verify(fd, asked, sock, own, target, deadline)
        except OSError as error:
            return _failure(error)

    def _verify(
        self, fd: int, asked: SocketFacts, sock: NamedSocket, own: Address, target: Address, deadline: float
    ) -> Verdict:
        if asked.stream:
            due: list[tuple[PeerName, Address, Address]] = [
                (n, own, target) for n in list(sock.names.values())
            ]
        else:
            # A socket of many names sends when all are verified: also those of others than this peer.
            wanted = list(sock.due.items())
            here = sock.names.get(target)
            if here is not None and here not in sock.due:
                wanted.append((here, target))
            due = [
                (name, own if at == target else self._own_address(asked, at, sock.profile), at)
                for name, at in wanted
                if at is not None
            ]
        verdict = Verdict()
        if not any(at == target for _, _, at in due):
            verdict = self._negotiations.run(sock.profile, own, target, deadline)
        for name, source, at in due:
            if verdict.good:
                under = None if asked.stream else at
                verdict = self._hold_against(name, sock, under, source, at, deadline)
        if any(name.gone for name, _, _ in due):
            return failed(Reason.NO_NAME, "its program has ended")
        self._set_gate(fd, sock)
        return verdict

    def _hold_against(
        self,
        name: PeerName,
        sock: NamedSocket,
        under: Address | None,
        own: Address,
        peer: Address,
        deadline: float,
    ) -> Verdict:
        """Verify one name, which the socket has under an address; an optional one need only be tried.

        After a failure the name keeps the pin that it had before: others do not get in because they tried.
        """
        before = name.pin
        verdict = self._verifier.verify(name, sock.profile, own, peer, deadline)
        sock.found(name, under, peer if verdict.good else None)
        if name.optional and verdict.reason in (Reason.OTHER_IDENTITY, Reason.NO_IDENTITY):
            verdict = Verdict()
        if name.gone or (name.verified is None and name.pin != before):
            # Its program may have ended while it was being verified.
            self._release(name)
        return verdict

    def _release(self, name: PeerName) -> None:
        key, name.pin = name.pin, None
        if key is not None:
            self._pins.release(key, name.program)

    def _set_gate(self, fd: int, sock: NamedSocket) -> None:
        """Let a socket send if all its names are verified, and else not."""
        if sock.may_send == sock.shut:
            if sock.shut:
                self._gate.open(fd, sock.family, sock.profile.profile)
                sock.shut = False
            else:
                self._shut(fd, sock)

    # Names

    def hold(self, fd: int) -> Verdict:
        """HOLD: a socket with names cannot send until verify()."""
        try:
            sock = self._named.get(facts(fd).cookie)
            if sock is None:
                return Verdict()
            with sock.lock:
                for at, name in list(sock.names.items()):
                    sock.found(name, at, None)
                self._set_gate(fd, sock)
        except OSError as error:
            return _failure(error)
        return Verdict()

    def _shut(self, fd: int, sock: NamedSocket) -> None:
        self._gate.shut(fd, sock.family, sock.profile.profile)
        sock.shut = True

    def set_name(
        self, fd: int, peer: Address | None, name: str, flags: NameFlag, program: Program, deadline: float
    ) -> Verdict:
        """SET_NAME: the socket cannot send until this name was found at its peer.

        Stream sockets: one name, whose peer is told at verify(); another one replaces it. Datagram sockets:
        one name for each address, held against it here; after a failure the socket stays shut until the name
        was deleted or verified.
        """
        try:
            wanted = parse(name, raw=bool(flags & NameFlag.RAW))
            asked = facts(fd)
            profile = self._profile_of_mark(asked.mark)
            target = None if asked.stream else peer or asked.peer
            if profile is None:
                return failed(Reason.NOT_SECURED)
            if asked.stream and asked.peer is not None:
                return failed(Reason.CONNECTED)
            if not asked.stream and target is None:
                return failed(Reason.PEER_ADDRESS)
            sock = self._named.socket(asked.cookie, profile, asked.family)
            with sock.lock:
                entry = PeerName(wanted, bool(flags & NameFlag.OPTIONAL), program)
                before = self._named.add(asked.cookie, sock, target, entry)
                if before is not None:
                    self._release(before)
                self._set_gate(fd, sock)
                if target is None:
                    return Verdict()
                own = self._own_address(asked, target, profile)
                verdict = self._hold_against(entry, sock, target, own, target, deadline)
                if not entry.gone:
                    self._set_gate(fd, sock)
                return verdict
        except NameFormError as error:
            return failed(Reason.NAME_FORM, str(error))
        except TooManyNamesError:
            return failed(Reason.DAEMON_BUSY, "this program has too many names")
        except OSError as error:
            return _failure(error)

    def delete_name(self, fd: int, peer: Address | None) -> Verdict:
        """DELETE_NAME: of stream sockets that which there is, of datagram sockets that of an address."""
        try:
            asked = facts(fd)
            sock = self._named.get(asked.cookie)
            if sock is None:
                return failed(Reason.NO_NAME)
            with sock.lock:
                name = self._named.delete(asked.cookie, None if asked.stream else peer or asked.peer)
                if name is None:
                    return failed(Reason.NO_NAME)
                self._release(name)
                self._set_gate(fd, sock)
                self._named.forget_if_nameless(asked.cookie)
        except OSError as error:
            return _failure(error)
        return Verdict()

    def program_ended(self, program: Program) -> None:
        """Forget the names of a program, and pins that nobody needs any more."""
        self._named.program_ended(program)
        self._pins.program_ended(program)

    # Questions

    def association_of(
        self, fd: int, peer: Address | None, deadline: float, abort: AbortFlag = AbortFlag.NONE
    ) -> Association:
        """QUERY: what protects packets between this socket and a peer now.

        With flags, a connection of which this is told is aborted when one of these ids is not that of its
        association any more, or cannot be told as charon has ended.
        """
        try:
            asked = facts(fd)
            target = peer or asked.peer
            if target is None:
                return Association(failed(Reason.NOT_CONNECTED))
            profile = self._profile_of_mark(asked.mark)
            if profile is None:
                return Association(failed(Reason.NOT_SECURED))
            own = self._own_address(asked, target, profile)
            found = self._query.association(profile, own, target, deadline)
            if abort and found.verdict.good:
                verdict = self._tie(fd, Route(found.reqid, own, target), found, abort)
                return found if verdict.good else Association(verdict)
            return found
        except OSError as error:
            return Association(_failure(error))

    def _tie(self, fd: int, route: Route, found: Association, abort: AbortFlag) -> Verdict:
        """Have the socket's connection aborted when what was found changes. Raises OSError."""
        if self._tied is None or not self._ike.alive:
            return failed(Reason.NO_CHARON)
        if not found.mm_sa_id or not found.qm_sa_id:
            return failed(Reason.NO_IDENTITY)
        connection = tcp_connection(fd)
        verdict = self._tied.possible(connection)
        if connection is None or not verdict.good:
            tcp_connection(fd)  # it may have ended just now
            return verdict
        main = found.mm_sa_id if AbortFlag.MM_SA_ID in abort else None
        quick = found.qm_sa_id if AbortFlag.QM_SA_ID in abort else None
        return self._tied.tie(connection, route, Ids(main, quick))

    def identity_of(self, fd: int, peer: Address | None, deadline: float) -> tuple[Verdict, str]:
        """ACCOUNT: who authenticated as the peer, as charon writes it.

        All SAs that there are with the peer must be his: what came from others may be waiting to be read.
        """
        found = self.association_of(fd, peer, deadline)
        if not found.verdict.good:
            return found.verdict, ""
        try:
            asked = facts(fd)
            target = peer or asked.peer
            if target is None:
                return failed(Reason.NOT_CONNECTED), ""
            verdict = self._query.one_identity(found, target, deadline)
        except OSError as error:
            verdict = _failure(error)
        return verdict, found.identity if verdict.good else ""

    def _own_address(self, asked: SocketFacts, peer: Address, profile: KeyProfile) -> Address:
        """Return this host's address in packets of a socket to a peer. Raises OSError."""
        if asked.own is not None:
            return asked.own
        own = self._sas.source(peer, asked.mark or profile.profile.mark, asked.device)
        if own is None:
            raise OSError(errno.EHOSTUNREACH, f"no address of this host can reach {peer}")
        return own
