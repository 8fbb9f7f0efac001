"""Sessions: adding, deleting and listing policies, and looking at associations."""

from __future__ import annotations

import ipaddress
import threading
import uuid
from types import TracebackType
from typing import Self, TypeAlias

from ..ranges import check_range
from .associations import IkeAssociation, IPAddress, SecurityAssociation
from .policies import MainModePolicy, Policy, QuickModePolicy
from .reported import association, ike_association, policy_of
from .system import open_session

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Associations: TypeAlias = list[SecurityAssociation]  # in the class the name is that of a method


def _subnet(name: str, value: str | IPAddress | IPNetwork | None) -> tuple[bytes, int] | None:
    if value is None:
        return None
    if not isinstance(
        value,
        str | ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network,
    ):
        raise TypeError(f"{name} is an address or a network, not {type(value).__name__}")
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return network.network_address.packed, network.prefixlen


class Session:
    """A session with what keeps the system's IPsec policies.

    On Windows that is the base filtering engine; on Linux the key daemon of the calling thread's network
    namespace, whose policies are the profiles of its configuration: see `list`, `add` and `delete`.

    Use it in a ``with`` statement, or call `close`. Threads may share it: a call waits for others.

    Args:
        dynamic: policies that are added here end with the session, or with the process. False: they stay
            until they are deleted, or the system's service ends; ``persistent`` ones stay even then. A
            process has ended on Linux when its forks have, too.

    Raises:
        SecurityError: with ``winsock`` WSAEACCES (not an administrator), WSAENETDOWN (the service BFE does
            not run; no key daemon, or it ended), WSAETIMEDOUT, WSAEOPNOTSUPP (Wine). Here and in the
            methods ``winerror`` on Windows is the system's own code, where there is one: a Win32 error, or
            0x8032.... (FWP_E_... of winerror.h).

    """

    def __init__(self, *, dynamic: bool = True) -> None:
        self._dynamic = dynamic
        self._lock = threading.Lock()
        self._engine = open_session(dynamic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dynamic(self) -> bool:
        """Whether policies that are added here end with the session."""
        return self._dynamic

    def close(self) -> None:
        """End the session; more than once is no error. Other methods raise ValueError from now on."""
        with self._lock:
            self._engine.close()

    def add(self, policy: Policy) -> uuid.UUID:
        """Add a policy.

        Linux: a quick-mode policy becomes a profile of the key daemon, with the main mode, identity and trust
        of the default profile. Both hosts need one with the same GUID. The numbers of the profile are free
        ones. This process knows it from now on, and so do programs that begin after, also those whose sockets
        the daemon secures; a program that runs does after
        ``wsasec.profiles.use(wsasec.profiles.load())``. The shortest of the proposals' lifetimes holds for
        all, and `idle_failover_seconds` counts for nothing. Refused with WSAEOPNOTSUPP: main-mode policies,
        ``persistent`` ones (both are for /etc/wsasec/wsasec.toml and ``wsasec reload``), negotiation
        discovery, extended mode, proposals of ESP beside such of AH, and algorithms that strongSwan has not.

        Args:
            policy: `MainModePolicy` or `QuickModePolicy`.

        Returns:
            Its GUID, for ``IpsecSettings(qm_policy=..., mm_policy=...)``: the policy's own, or a new one.

        Raises:
            SecurityError: WSAEINVAL (the GUID is taken, or the system does not take a value), WSAEACCES,
                WSAENETDOWN, WSAETIMEDOUT; on Linux WSAEOPNOTSUPP: what there cannot be there, see above.
            TypeError: not a policy.
            ValueError: it is persistent and the session dynamic; or it was reported with what cannot be
                added: a pre-shared key, a list of root certificates.

        """
        if not isinstance(policy, MainModePolicy | QuickModePolicy):
            raise TypeError(f"policy is MainModePolicy or QuickModePolicy, not {type(policy).__name__}")
        policy._check()
        if policy.persistent and self._dynamic:
            raise ValueError("persistent: a dynamic session keeps no policies; Session(dynamic=False) does")
        guid = policy.guid or uuid.uuid4()
        with self._lock:
            self._engine.add(policy._described(guid))
        return guid

    def delete(self, key: uuid.UUID) -> None:
        """Delete a policy by its GUID; on Linux also those of sessions that were not dynamic.

        Linux: its associations end, and its sockets cannot send any more; also not under a policy that is
        added later, unless that is the same in all, GUID and name too.

        Raises:
            SecurityError: WSAEINVAL (there is no such, it is in use, or it is of another kind of session),
                WSAEACCES, WSAENETDOWN, WSAETIMEDOUT. On Linux WSAEOPNOTSUPP: it is a profile of the
                configuration.
            TypeError: not a GUID.

        """
        if not isinstance(key, uuid.UUID):
            raise TypeError(f"key is a uuid.UUID, not {type(key).__name__}")
        with self._lock:
            self._engine.delete(key.bytes_le)

    def list(self) -> list[Policy]:
        """Return the system's policies of main modes and transport quick modes, in an order of its own.

        Values that have no name here are ints, see `Encryption`. Keys of authentication are never reported.

        Linux: each profile of the configuration is two policies, of main and of quick mode, with its name and
        its GUID, which is for ``IpsecSettings(qm_policy=..., mm_policy=...)``; those of the default profile
        come first. Algorithms without a name here have IKEv2's number (IANA) behind 0x10000, raw keys
        0x1000e; a limit that there is not is the greatest that there can be. Quick modes of IKEv2 count as
        AUTHIP's.

        Raises:
            SecurityError: WSAEACCES, WSAENETDOWN, WSAETIMEDOUT.

        """
        with self._lock:
            found = self._engine.policies()
        return [policy_of(described) for described in found]

    def security_associations(
        self,
        *,
        local: str | IPAddress | IPNetwork | None = None,
        remote: str | IPAddress | IPNetwork | None = None,
    ) -> _Associations:
        """Return the system's security associations, one for each direction and protocol.

        Linux: those of the configuration's profiles which the key daemon has negotiated; the ids are those
        that `wsasec.query` tells with ``ipsec2=True``, the filter is the profile's reqid.

        Args:
            local: only those of this local address or network ("10.0.0.1", "fd00::/8"); None for all.
            remote: the same for the peer's address.

        Raises:
            SecurityError: WSAEACCES, WSAENETDOWN, WSAETIMEDOUT.
            TypeError: neither of them, nor a str.
            ValueError: no address or network, or both are given and are of different versions.

        """
        wanted = _subnet("local", local), _subnet("remote", remote)
        if wanted[0] and wanted[1] and len(wanted[0][0]) != len(wanted[1][0]):
            raise ValueError("local and remote are of different versions of IP")
        with self._lock:
            found = self._engine.associations(*wanted)
        return [association(one) for one in found]

    def ike_association(self, number: int, lookup: uuid.UUID | None = None) -> IkeAssociation:
        """Return the main mode that a security association, or the query of a socket, names.

        Args:
            number: `SecurityAssociation.main_mode_id`, or `wsasec.SocketSecurity.mm_sa_id`.
            lookup: `SecurityAssociation.lookup`, or `wsasec.SocketSecurity.sa_lookup_context`; or None. It
                makes no difference on Linux.

        Raises:
            SecurityError: WSAEINVAL (there is no such), WSAEACCES, WSAENETDOWN, WSAETIMEDOUT.
            TypeError: number is no int, or lookup neither a GUID nor None.
            ValueError: number is negative, or has more than 64 bits.

        """
        if lookup is not None and not isinstance(lookup, uuid.UUID):
            raise TypeError(f"lookup is a uuid.UUID or None, not {type(lookup).__name__}")
        check_range("number", number, 0, 2**64 - 1)
        with self._lock:
            found = self._engine.ike_association(number, None if lookup is None else lookup.bytes_le)
        return ike_association(found)
