"""What the kernel says of a program's socket, and the gate before it: policies of its own."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from .._wsasec import socket_options
from ..kernel.options import SO_BINDTOIFINDEX
from ..kernel.sockdiag import TcpConnection
from ..profile import Profile
from ..profiles import carrier_of
from ..settings import IpsecSettings
from .associations import Address

__all__ = ["Gate", "SocketFacts", "address_of", "facts", "tcp_connection"]

_SO_COOKIE: Final = 57

# Of struct xfrm_userpolicy_info: behind selector, limits, counters, priority and index.
_FAMILY: Final = 40
_LIMITS: Final = 56
_INFINITE: Final = 2**64 - 1
_DIRECTION: Final = 160
_ACTION: Final = 161
_INFO_BYTES: Final = 168
_POLICY_BYTES: Final = (
    _INFO_BYTES + 64
)  # with one template: the kernel tells by the length how many there are
_OUT: Final = 1
_BLOCK: Final = 1
_OPTIONS: Final[dict[int, tuple[int, int]]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 17),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 35),
}


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """A socket as the kernel knows it.

    Attributes:
        cookie: the kernel's number of it, never used again.
        family: AF_INET or AF_INET6.
        stream: whether it is a stream socket.
        mark: SO_MARK.
        device: index of the device it is bound to; 0 for any.
        own: the address it is bound to; None for any.
        peer: the address it is connected to; None if it is not.
    """

    cookie: int
    family: int
    stream: bool
    mark: int
    device: int
    own: Address | None
    peer: Address | None


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """Work on a descriptor that stays the caller's. Raises OSError if it is no socket."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def address_of(name: tuple[str | int, ...]) -> Address | None:
    """Return the address of what getsockname() and the like return; None for the unspecified one.

    One that is link-local has the index of its device as its scope; an IPv4-mapped one is IPv4.
    """
    text = str(name[0]).partition("%")[0]
    if len(name) == 2:
        ipv4 = IPv4Address(text)
        return None if ipv4.is_unspecified else ipv4
    ipv6 = IPv6Address(text)
    if ipv6.ipv4_mapped:
        return ipv6.ipv4_mapped
    if ipv6.is_unspecified:
        return None
    scope = int(name[3]) if len(name) > 3 else 0
    return IPv6Address(f"{ipv6}%{scope}") if ipv6.is_link_local and scope else ipv6


def _peer(sock: socket.socket) -> Address | None:
    try:
        return address_of(sock.getpeername())
    except OSError as error:
        if error.errno in (errno.ENOTCONN, errno.EINVAL):
            return None
        raise


def facts(fd: int) -> SocketFacts:
    """Ask the kernel. Raises OSError: it is no socket (ENOTSOCK), or not of IP (EAFNOSUPPORT)."""
    with _borrowed(fd) as sock:
        if sock.family not in _OPTIONS:
            raise OSError(errno.EAFNOSUPPORT, "not an IPv4 or IPv6 socket")
        return SocketFacts(
            cookie=_cookie(sock),
            family=sock.family,
            stream=sock.type == socket.SOCK_STREAM,
            mark=sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0xFFFFFFFF,
            device=sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX),
            own=address_of(sock.getsockname()),
            peer=_peer(sock),
        )


def tcp_connection(fd: int) -> TcpConnection | None:
    """Return a socket's connection; None of sockets of another protocol, and of MPTCP, which has several.

    Raises:
        OSError: it is not connected (ENOTCONN), or no socket.
    """
    with _borrowed(fd) as sock:
        if sock.family not in _OPTIONS or sock.proto != socket.IPPROTO_TCP:
            return None
        own, peer = sock.getsockname(), sock.getpeername()
        addresses = [socket.inet_pton(sock.family, name[0].partition("%")[0]) for name in (own, peer)]
        return TcpConnection(
            cookie=_cookie(sock),
            family=sock.family,
            own=addresses[0],
            own_port=own[1],
            peer=addresses[1],
            peer_port=peer[1],
            device=sock.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX),
        )


def _cookie(sock: socket.socket) -> int:
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), sys.byteorder)


class Gate:
    """Shuts sockets and lets them send again: by their outbound policy, which is asked for every packet.

    Sockets on a device have none of their own, and get one while they are shut. The profiles must be in use
    in this process. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._policies: dict[tuple[Profile, int], bytes] = {}

    def shut(self, fd: int, family: int, profile: Profile) -> None:
        """From the next packet on, the socket cannot send: EPERM. Raises OSError, SecurityError."""
        if carrier_of(profile) == "device":
            _set(fd, family, _blocking(family), _INFO_BYTES)
            return
        policy = bytearray(self._policy(profile, family))
        policy[_ACTION] = _BLOCK
        _set(fd, family, bytes(policy))

    def open(self, fd: int, family: int, profile: Profile) -> None:
        """The socket can send, in SAs of the profile. Raises OSError, SecurityError."""
        if carrier_of(profile) == "device":
            _remove(fd, family)
        else:
            _set(fd, family, self._policy(profile, family))

    def _policy(self, profile: Profile, family: int) -> bytes:
        """Return the outbound policy of the profile's sockets, which requires an SA."""
        with self._lock:
            if (profile, family) not in self._policies:
                self._policies[profile, family] = _required(profile, family)
            return self._policies[profile, family]


def _required(profile: Profile, family: int) -> bytes:
    options = socket_options(IpsecSettings(qm_policy=profile.guid), family=family)
    (policy,) = [
        value
        for level, name, value in options
        if (level, name) == _OPTIONS[family] and len(value) == _POLICY_BYTES and value[_DIRECTION] == _OUT
    ]
    (reqid,) = struct.unpack_from("=I", policy, 168 + 44)
    optional = policy[168 + 50]
    if policy[_ACTION] or reqid != profile.reqid or optional:
        raise OSError(errno.EINVAL, f"the policy of profile {profile.name} is not as it should be")
    return policy


def _blocking(family: int) -> bytes:
    """Return an outbound policy without templates that lets nothing out: for any selector, without limits."""
    policy = bytearray(_INFO_BYTES)
    struct.pack_into("=H", policy, _FAMILY, family)
    struct.pack_into("=4Q", policy, _LIMITS, *(4 * [_INFINITE]))
    policy[_DIRECTION], policy[_ACTION] = _OUT, _BLOCK
    return bytes(policy)


def _set(fd: int, family: int, policy: bytes, length: int = _POLICY_BYTES) -> None:
    if len(policy) != length:
        raise OSError(errno.EINVAL, "a policy of another length means another number of templates")
    level, name = _OPTIONS[family]
    with _borrowed(fd) as sock:
        sock.setsockopt(level, name, policy)


def _remove(fd: int, family: int) -> None:
    """Remove a socket's policies, of both directions."""
    level, name = _OPTIONS[family]
    with _borrowed(fd) as sock:
        sock.setsockopt(level, name, None, 0)
