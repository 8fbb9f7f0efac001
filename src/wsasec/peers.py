"""Who the peer is: asking, naming the expected one, and acting as it."""

from __future__ import annotations

import inspect
import socket as _socket
import struct
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from . import _wsasec
from ._wsasec import Impersonation, Token, revert_impersonation
from .addresses import STORAGE_SIZE, pack_peer
from .constants import QueryFields, QueryFlags, SecurityProtocol, SocketInfo
from .ranges import U32, check_range
from .settings import SettingsBase, utf16_size

if TYPE_CHECKING:
    from _typeshed import HasFileno

__all__ = [
    "Association",
    "Impersonation",
    "SocketSecurity",
    "Token",
    "delete_peer_target_name",
    "impersonate",
    "negotiate",
    "query",
    "revert_impersonation",
    "set_peer_target_name",
]

# SOCKET_SECURITY_QUERY_INFO and ..._IPSEC2, SOCKET_PEER_TARGET_NAME (mstcpip.h).
_INFO_SIZE: Final = 24
_INFO_IPSEC2: Final = struct.Struct("=II16xQQI16s4x")
_NAME_SIZE: Final = 144

# Of a negotiation, in seconds.
_LONGEST: Final = 86400

_ALL_FIELDS: Final = QueryFields.MM_SA_ID | QueryFields.QM_SA_ID


@dataclass(frozen=True)
class Association:
    """The pair of security associations that a connection's packets take now.

    Attributes:
        protocol: 50 for ESP, 51 for AH.
        spi_in, spi_out: the numbers in the packets of both directions.
        encryption: the algorithm, as the kernel names it; None without encryption.
        encryption_bits: of its key.
        integrity: the algorithm; None where that of the encryption sees to it.
        integrity_bits: of the tag of each packet.
        esn: sequence numbers have 64 bits.
        bytes_in, bytes_out, packets_in, packets_out: of all the connections that take it.
        age: seconds since it was installed.
        rekey_in: seconds until it is replaced; None where that is not known.

    """

    protocol: int
    spi_in: int
    spi_out: int
    encryption: str | None
    encryption_bits: int
    integrity: str | None
    integrity_bits: int
    esn: bool
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    age: int
    rekey_in: int | None


@dataclass(frozen=True)
class SocketSecurity:
    """What protects a connection: SOCKET_SECURITY_QUERY_INFO, or ..._IPSEC2 (mstcpip.h).

    In a `with` block it closes its tokens in the end.

    Attributes:
        secured: the connection is protected by IPsec.
        encrypted: and it is encrypted.
        impersonated: a thread acts as the peer.
        flags: `SocketInfo`, as the system has answered.
        application_token: `Token` of the peer's user; None where there is none, or none was asked for.
        machine_token: `Token` of the peer's machine; None likewise.
        mm_sa_id: id of the main-mode SA; None where it was not asked for.
        qm_sa_id: id of the quick-mode SA; None where it was not asked for.
        negotiation_error: what the negotiation ended with, 0 or an error of Windows; None without IPSEC2.
        sa_lookup_context: names the SA in the system's own log; None without IPSEC2.
        peer: whom the peer has proved to be: the identity in its certificate, or of its key. This and what
            follows is None on Windows, and where it is not known: keys that no key daemon has negotiated tell
            no identities.
        own: whom this host has proved to be.
        profile: name of the profile.
        association: `Association`; None where nothing protects the connection, or where it is the device's
            that it does, and no key daemon runs that could ask the engine by which one.
        certificate: the peer's, DER.

    """

    secured: bool
    encrypted: bool
    impersonated: bool
    flags: SocketInfo
    application_token: Token | None = None
    machine_token: Token | None = None
    mm_sa_id: int | None = None
    qm_sa_id: int | None = None
    negotiation_error: int | None = None
    sa_lookup_context: uuid.UUID | None = None
    peer: str | None = None
    own: str | None = None
    profile: str | None = None
    association: Association | None = None
    certificate: bytes | None = None

    def close(self) -> None:
        """Close the tokens; twice is no error.

        Raises:
            SecurityError: the system refuses; see `Token.close`.

        """
        try:
            if self.application_token is not None:
                self.application_token.close()
        finally:
            if self.machine_token is not None:
                self.machine_token.close()

    def __enter__(self) -> SocketSecurity:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _storage(sock: HasFileno | int, peer: Sequence[Any] | None) -> bytes:
    """Make a SOCKADDR_STORAGE of the peer's address; zeros for none."""
    return (b"" if peer is None else pack_peer(sock, peer)).ljust(STORAGE_SIZE, b"\0")


def query_template(storage: bytes, access_mask: int, ipsec2: tuple[int, int] | None) -> bytes:
    """Make a SOCKET_SECURITY_QUERY_TEMPLATE, or with its flags and field mask one of IPSEC2."""
    if ipsec2 is None:
        return struct.pack("=I4x128sI4x", SecurityProtocol.IPSEC, storage, access_mask)
    return struct.pack("=I4x128sIII4x", SecurityProtocol.IPSEC2, storage, access_mask, *ipsec2)


def query(
    sock: HasFileno | int,
    *,
    peer: Sequence[Any] | None = None,
    access_mask: int = 0,
    ipsec2: bool = False,
    fields: QueryFields | None = None,
    abort_on_change: bool = False,
) -> SocketSecurity:
    """Ask what protects a connection, and who the peer is: WSAQuerySocketSecurity (ws2tcpip.h).

    Stream sockets may ask once they are connected, datagram sockets after the first packet to or from the
    peer; both as often as they like. On Linux it is of the SA that the connection's packets take now: the
    key daemon is asked, or without one, given CAP_NET_ADMIN, the kernel, which knows no identities.

    Args:
        sock: a socket, as for `secure`.
        peer: address and port, (host, port) or (host, port, flow info, scope id), numbers and no names.
            Datagram sockets must give it; stream sockets need not.
        access_mask: of the tokens (TOKEN_QUERY, ...), 32 bits; 0 for no tokens.
        ipsec2: ask for more: the ids of the SAs, the error of the negotiation (Windows 7 and later).
        fields: `QueryFields`, the ids that are asked for; all by default. With ipsec2 only.
        abort_on_change: abort the connection when one of the fields changes. With ipsec2 only. On Linux for
            TCP, by the key daemon, also when it ends or loses charon: calls fail with ECONNABORTED then. It
            takes a kernel with CONFIG_INET_DIAG_DESTROY; where it cannot be done the query fails.

    Returns:
        A `SocketSecurity`, with the tokens that the caller closes.

    Raises:
        SecurityError: with ``winsock`` WSAENOTSOCK (no socket, or closed), WSAEINVAL (family, type, not
            connected, a datagram socket without its peer), WSAECONNRESET (the connection is gone),
            WSAENOTCONN (Linux: not connected, or nothing protects the connection now), WSAENETDOWN (Linux:
            neither a key daemon nor CAP_NET_ADMIN), WSAETIMEDOUT (the key daemon does not answer),
            WSAEOPNOTSUPP (Linux: tokens; or no fwpuclnt.dll), or what else Windows answers. Linux, with
            abort_on_change: WSAEOPNOTSUPP (no TCP, or the kernel cannot do it), WSAEINVAL (not secured),
            WSAENETDOWN (no key daemon, or no charon), WSAEACCES (keys that were not negotiated).
        TypeError, ValueError: wrong arguments.
        OSError: the address names a network interface that there is not.

    """
    check_range("access_mask", access_mask, 0, U32)
    if not ipsec2 and (fields is not None or abort_on_change):
        raise ValueError("fields and abort_on_change are for ipsec2=True")
    asked = _ALL_FIELDS if fields is None else fields
    check_range("fields", asked, 0, int(_ALL_FIELDS))
    flags = QueryFlags.ABORT_CONNECTION_ON_FIELD_CHANGE if abort_on_change else QueryFlags.NONE
    more = (int(flags), int(asked)) if ipsec2 else None
    storage = _storage(sock, peer)
    template = query_template(storage, access_mask, more)
    # Tokens, which Linux has not, its own WSAQuerySocketSecurity refuses.
    if sys.platform == "win32" or access_mask:
        return _ask_winsock(sock, template, ipsec2, asked)
    if abort_on_change:
        # From now on the connection goes by this answer; if the next one is another, it is aborted.
        _ask_winsock(sock, template, ipsec2, asked)
    return _ask_linux(sock, storage, ipsec2, asked)


def _first_of(flags: int, application: Token | None = None, machine: Token | None = None) -> SocketSecurity:
    has = SocketInfo(flags)
    return SocketSecurity(
        SocketInfo.CONNECTION_SECURED in has,
        SocketInfo.CONNECTION_ENCRYPTED in has,
        SocketInfo.CONNECTION_IMPERSONATED in has,
        has,
        application,
        machine,
    )


def _with_ipsec2(
    first: SocketSecurity, asked: QueryFields, main: int, quick: int, error: int, context: bytes
) -> SocketSecurity:
    return replace(
        first,
        mm_sa_id=main if asked & QueryFields.MM_SA_ID else None,
        qm_sa_id=quick if asked & QueryFields.QM_SA_ID else None,
        negotiation_error=error,
        sa_lookup_context=uuid.UUID(bytes_le=context),
    )


def _ask_winsock(sock: HasFileno | int, template: bytes, ipsec2: bool, asked: QueryFields) -> SocketSecurity:
    room = _INFO_IPSEC2.size if ipsec2 else _INFO_SIZE
    answer, length, application, machine = _wsasec.query_security(sock, template, room)
    first = _first_of(struct.unpack_from("=I", answer, 4)[0], application, machine)
    if not ipsec2 or length < _INFO_IPSEC2.size:
        return first
    _, _, main, quick, error, context = _INFO_IPSEC2.unpack_from(answer)
    return _with_ipsec2(first, asked, main, quick, error, context)


def _ask_linux(sock: HasFileno | int, peer: bytes, ipsec2: bool, asked: QueryFields) -> SocketSecurity:
    """Ask once for what WSAQuerySocketSecurity tells, and for what only Linux does."""
    flags, main, quick, own, identity, profile, certificate, parts = _wsasec.association_of(sock, peer)
    first = _first_of(flags)
    if ipsec2:
        first = _with_ipsec2(first, asked, main, quick, 0, bytes(16))
    if not first.secured:
        return first
    made = Association(*parts)
    return replace(
        first,
        peer=identity,
        own=own,
        profile=profile,
        association=made if made.spi_out else None,
        certificate=certificate,
    )


def target_name(storage: bytes, name: str) -> bytes:
    """Make a SOCKET_PEER_TARGET_NAME: the name in UTF-16, its length in bytes."""
    size = utf16_size("name", name)
    if not name:
        raise ValueError("name is empty: delete_peer_target_name() takes one back")
    if "\0" in name:
        raise ValueError("name has a NUL character")
    head = struct.pack("=I4x128sI", SecurityProtocol.IPSEC, storage, size)
    return (head + name.encode("utf-16-le")).ljust(_NAME_SIZE, b"\0")


def negotiate(
    sock_or_address: _socket.socket | Sequence[Any],
    peer: Sequence[Any] | None = None,
    *,
    timeout: float = 10.0,
    settings: SettingsBase | None = None,
) -> None:
    """Have keys made for a peer now, so that ``connect()`` or ``sendto()`` need not wait for them.

    ::

        wsasec.negotiate(("10.0.0.2", 443))
        with socket.socket() as s:
            wsasec.secure(s)
            s.connect(("10.0.0.2", 443))  # without it: EAGAIN, where there are no keys yet

    The keys serve all sockets of the profile between the two hosts. Linux only: Windows makes them by
    itself.

    Args:
        sock_or_address: a secured socket, whose names (`set_peer_target_name`) are held against the peer,
            too; or only the address, (host, port) or (host, port, flow info, scope id), numbers and no names.
        peer: with a socket, the peer's address likewise; stream sockets that are connected need not give
            it.
        timeout: seconds.
        settings: with an address: as for `secure`; what the sockets will be secured with.

    Raises:
        SecurityError: with ``winsock`` WSAENETDOWN (no key daemon), WSAETIMEDOUT (not done in time, or the
            peer does not answer), WSAEACCES (authentication failed, another identity, no common proposal, not
            allowed), WSAENETUNREACH, WSAEINVAL (not secured, family, type), WSAEFAULT (a datagram socket
            without its peer), WSAENOTCONN, WSAENOTSOCK; WSAEOPNOTSUPP (Windows); with an address
            also as `secure`.
        TypeError, ValueError: wrong arguments.
        OSError: the address names a network interface that there is not.

    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
    if not 0 <= timeout <= _LONGEST:
        raise ValueError(f"timeout is from 0 to {_LONGEST} seconds, not {timeout}")
    nanoseconds = int(timeout * 1e9)
    if not isinstance(sock_or_address, Sequence):
        if settings is not None:
            raise ValueError("settings are for an address: a socket has its own")
        _wsasec.negotiate(
            sock_or_address, None if peer is None else pack_peer(sock_or_address, peer), nanoseconds
        )
        return
    if peer is not None:
        raise ValueError("a peer is given once: as the address, or beside a socket")
    packed = pack_peer(None, sock_or_address)
    family = int.from_bytes(packed[:2], sys.byteorder)
    with _socket.socket(family, _socket.SOCK_STREAM) as sock:
        _wsasec.secure(sock, settings)
        _wsasec.negotiate(sock, packed, nanoseconds)


def set_peer_target_name(sock: HasFileno | int, name: str, *, peer: Sequence[Any] | None = None) -> None:
    """Name the principal that must be found at the peer: WSASetSocketPeerTargetName (ws2tcpip.h).

    Call it before the socket is connected. Authentication as anybody else fails then. On Linux the socket
    must be secured, and the key daemon holds the name against the peer: for datagram sockets at once, for
    others at `connect`; until then the socket cannot send. One of IPv6 on a secure device becomes
    IPV6_V6ONLY, and gets a port if it has none.

    Args:
        sock: a socket, as for `secure`.
        name: such as "host/server.example"; its form is that of the authentication.
        peer: address and port for which it is, as for `query`. Datagram sockets must give it, and may set a
            name for each peer; stream sockets need not.

    Raises:
        SecurityError: with ``winsock`` WSAENOTSOCK (no socket, or closed), WSAEINVAL (family, type, a
            datagram socket without a peer; Linux: not secured, or a name that no certificate can have),
            WSAEISCONN (connected), WSAENETDOWN (Linux: no key daemon), WSAEACCES (Linux: the peer of a
            datagram socket is somebody else), WSAEOPNOTSUPP (no fwpuclnt.dll), or what else Windows answers.
        TypeError, ValueError: wrong arguments; a name that is empty, has a NUL, or no UTF-16 form.
        OSError: the address names a network interface that there is not.

    """
    _wsasec.set_peer_name(sock, target_name(_storage(sock, peer), name))


def delete_peer_target_name(sock: HasFileno | int, peer: Sequence[Any]) -> None:
    """Take back the name of a peer of a datagram socket: WSADeleteSocketPeerTargetName (ws2tcpip.h).

    Args:
        sock: a socket, as for `secure`.
        peer: its address and port, as for `query`.

    Raises:
        SecurityError: as `set_peer_target_name`.
        TypeError, ValueError: wrong arguments.
        OSError: the address names a network interface that there is not.

    """
    _wsasec.delete_peer_name(sock, pack_peer(sock, peer))


def impersonate(sock: HasFileno | int, *, peer: Sequence[Any] | None = None) -> Impersonation:
    """Act as the peer within a `with` block: WSAImpersonateSocketPeer, WSARevertImpersonation (ws2tcpip.h).

    ::

        with wsasec.impersonate(connection):
            data = open(name, "rb").read()  # if the peer may

    The thread has the identity of the peer's user, or else machine, for access checks; in the end it has its
    own again, however the block ends. It is for one thread: not in a coroutine, a generator, a greenlet or a
    thread that runs an asyncio loop, where others' code would run as the peer meanwhile, and not within
    another such block.

    On Linux it is the account that the configuration has for the peer's identity: effective user, group and
    groups, without any effective capability. It needs CAP_SETUID and CAP_SETGID. Threads that the block
    starts begin as the peer; programs that it starts may take the process's own identity back.

    Args:
        sock: a blocking socket, as for `secure`: accepted, or after the first datagram from the peer. By
            Windows' documentation it is none that was made for overlapped calls, as Python's are;
            docs/windows.md has more.
        peer: address and port, as for `query`; stream sockets need not give it.

    Returns:
        What `with` takes. Entering and leaving it raise:

    Raises:
        SecurityError: (entering) with ``winsock`` WSAENOTSOCK, WSAEINVAL (family, type), WSAEFAULT (a
            datagram socket without its peer), WSAENOTCONN, WSAENETDOWN (Linux: no key daemon), WSAEACCES
            (Linux: no account for the peer, no privilege), WSAEOPNOTSUPP (no fwpuclnt.dll), or what else
            Windows answers.
        ImpersonationError: the thread could not go back, and still acts as the peer. No other can
            be entered in this thread until `revert_impersonation` succeeds.
        RuntimeError: (entering) not in such a place, or the thread acts as a peer already; (leaving) another
            thread than that which entered it, and which still acts as the peer.
        TypeError, ValueError: wrong arguments.
        OSError: the address names a network interface that there is not.

    """
    return Impersonation(sock, None if peer is None else pack_peer(sock, peer))


_SUSPENDED: Final = (
    inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
)


def check_caller(frame: FrameType) -> None:
    """Refuse to impersonate where the thread may do others' work before the block ends.

    Raises:
        RuntimeError: a generator, a coroutine, a greenlet, or a thread with a running asyncio loop.

    """
    asyncio, greenlet = sys.modules.get("asyncio"), sys.modules.get("greenlet")
    if frame.f_code.co_flags & _SUSPENDED:
        where = "a generator or coroutine"
    elif asyncio is not None and asyncio._get_running_loop() is not None:
        where = "a thread that runs an asyncio loop"
    elif greenlet is not None and greenlet.getcurrent().parent is not None:
        where = "a greenlet"
    else:
        return
    raise RuntimeError(
        f"impersonate() in {where}: others' code would run as the peer; do it in a function that runs in a "
        "thread of its own (asyncio.to_thread)"
    )
