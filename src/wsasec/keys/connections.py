"""The configuration as VICI's messages: connections and their children."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ..config.model import Authentication, KeyProfile
from ..profiles import carrier_of
from .associations import Address
from .credentials import Credentials
from .exclusion import remaining
from .groups import ANONYMOUS, Group, Way
from .identities import for_charon, is_key, matches, of_key

__all__ = ["PREFIX", "Connection", "group_of", "peer", "peer_name", "question", "responders", "ways_of"]

PREFIX: Final = "wsasec-"
"""What the names of all that is ours in charon begin with."""

_REPLAY_WINDOW: Final = 1024

_NOBODY: Final = "*.wsasec.invalid"
"""A pattern that no peer's identity has: as it is one, peers are not asked for it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as charon takes it.

    Attributes:
        name: by which charon knows it.
        way: in which the peer shows who it is.
        message: of load-conn, below the name.
    """

    name: str
    way: Way
    message: dict[str, object]


def group_of(connection: str) -> str | None:
    """Return the group that a connection of this name is of; None if it is not ours."""
    if not connection.startswith(PREFIX):
        return None
    group, at, _ = connection.removeprefix(PREFIX).partition("@")
    return group if at else None


def _late(seconds: int) -> int:
    """Return how many seconds after it should be renewed something ends.

    charon's tenth is no time for one that is renewed every few seconds: it ended before it was renewed.
    """
    return max(30, seconds // 10)


def _child(profile: KeyProfile) -> dict[str, object]:
    # The port is a signal: by it the peer finds the child of its own. The kernel is not told of it.
    selector = f"dynamic[253/{profile.signal}]" if profile.signal else "dynamic"
    child: dict[str, object] = {
        "mode": "transport",
        "policies": "no",
        "reqid": profile.profile.reqid,
        "set_mark_in": f"{profile.profile.mark:#x}/{profile.profile.mask:#x}",
        "local_ts": [selector],
        "remote_ts": [selector],
        "replay_window": _REPLAY_WINDOW,
        "rekey_time": f"{profile.rekey_seconds}s",
        "life_time": f"{profile.rekey_seconds + _late(profile.rekey_seconds)}s",
        "start_action": "none",
        "close_action": "none",
        "dpd_action": "clear",
    }
    if _late(profile.rekey_seconds) > profile.rekey_seconds // 10:
        # Else it would be all of that time, which is more than there is before: a number below zero is never.
        child["rand_time"] = f"{profile.rekey_seconds // 10}s"
    if profile.ah_proposals:
        child["ah_proposals"] = list(profile.ah_proposals)
    else:
        child["esp_proposals"] = list(profile.esp_proposals)
    if profile.rekey_bytes:
        child["rekey_bytes"] = profile.rekey_bytes
    if profile.rekey_packets:
        child["rekey_packets"] = profile.rekey_packets
    if profile.idle_seconds:
        child["inactivity"] = f"{profile.idle_seconds}s"
    return child


def _local(group: Group, credentials: Credentials) -> dict[str, object]:
    identity = group.identity
    match identity.authentication:
        case Authentication.ANONYMOUS:
            return {"auth": "psk", "id": ANONYMOUS}
        case Authentication.PSK:
            return {"auth": "psk", "id": identity.id}
        case Authentication.RAW_KEY:
            # The key is who it is: whatever else a peer calls itself is not proven by it.
            own = credentials.own_public_key(identity)
            return {"auth": "pubkey", "id": for_charon(of_key(own)), "pubkeys": [own]}
    return {"auth": "pubkey", "id": identity.id, "certs": [credentials.own_certificate(identity)]}


def _remote(group: Group, way: Way, credentials: Credentials) -> dict[str, object]:
    trust = group.first.trust
    if way.kind == "ca":
        # What other groups believe is in charon, too: these alone count here.
        return {
            "auth": "pubkey",
            "id": way.name,
            "cacerts": credentials.authorities(trust),
            "revocation": str(trust.revocation),
        }
    if way.kind == "pinned":
        keys = credentials.pinned(trust)
        if way.name != "%any":
            # From any of the keys charon would take this identity, and without keys from anybody it believes.
            keys = [key for key in keys if of_key(key) == way.name]
            if not keys:
                raise ValueError(f"no key of {way.name}")
        return {"auth": "pubkey", "id": for_charon(way.name), "pubkeys": keys}
    return {"auth": "psk", "id": way.name}


def _connection(
    group: Group, way: Way, credentials: Credentials, remote_addrs: list[str]
) -> dict[str, object]:
    first = group.first
    connection: dict[str, object] = {
        "version": first.ike_version,
        "mobike": "no",
        "unique": "never",
        "remote_addrs": remote_addrs,
        "proposals": list(first.ike_proposals),
        "dpd_delay": f"{first.dpd_seconds}s",
        "rekey_time": f"{first.ike_rekey_seconds}s",
        "over_time": f"{_late(first.ike_rekey_seconds)}s",
        "reauth_time": "0s",
        "local": _local(group, credentials),
        "remote": _remote(group, way, credentials),
        "children": {profile.profile.name: _child(profile) for profile in group.profiles},
    }
    if carrier_of(first.profile) == "device":
        # An engine's ESP is always in UDP: charon shares its port, and what is not in UDP takes a privilege.
        connection["encap"] = "yes"
    if first.ike_version == 1:
        connection["dpd_timeout"] = f"{max(5, 3 * first.dpd_seconds)}s"
    return connection


def ways_of(group: Group, credentials: Credentials, identity: str) -> list[Way]:
    """Return the ways of a group that are open to one identity, and to it alone; [] if there are none."""
    keys = {of_key(key) for key in credentials.pinned(group.first.trust)}
    found = [
        Way(way.kind, identity)
        for way in group.ways()
        if (
            identity in keys if way.kind == "pinned" else matches(identity, way.name) and not is_key(identity)
        )
    ]
    return list(dict.fromkeys(found))


def responders(group: Group, credentials: Credentials, pinned: Collection[Address]) -> list[Connection]:
    """Return what answers to peers that begin, a connection for each way; none if all addresses are pinned.

    Args:
        group: whose profiles.
        credentials: what the configuration's files hold.
        pinned: addresses at which only one identity is taken: what peer() returns answers them.
    """
    addresses = remaining(group.first.peers, pinned)
    if not addresses:
        return []
    return [
        Connection(f"{PREFIX}{group.name}@any/{number}", way, _connection(group, way, credentials, addresses))
        for number, way in enumerate(group.ways())
    ]


def peer_name(group: Group, address: Address, local: Address | None, which: object) -> str:
    """Return the name of a connection for one peer; see peer()."""
    where = f"{address},{local}" if local else str(address)
    return f"{PREFIX}{group.name}@{where}/{which}"


def _for_one(
    group: Group, credentials: Credentials, address: Address, local: Address | None, way: Way
) -> dict[str, object]:
    message = _connection(group, way, credentials, [str(address)])
    return message | ({"local_addrs": [str(local)]} if local else {})


def peer(
    group: Group, credentials: Credentials, address: Address, local: Address | None, way: Way, number: int
) -> Connection:
    """Return what begins with one peer, and answers it.

    Args:
        group: whose profiles.
        credentials: what the configuration's files hold.
        address: the peer's.
        local: this host's; None for what the routes say.
        way: of the group; or of an identity that alone is taken.
        number: of the way, for the name.
    """
    name = peer_name(group, address, local, number)
    return Connection(name, way, _for_one(group, credentials, address, local, way))


def question(
    group: Group, credentials: Credentials, address: Address, local: Address | None, number: int
) -> Connection:
    """Return what begins with one peer only to see who it is: it takes nobody, and has no children.

    It is for groups with names, by the kind of these. `number` is for the name.
    """
    way = Way(group.ways()[0].kind, _NOBODY)
    message = _for_one(group, credentials, address, local, way) | {"children": {}}
    return Connection(peer_name(group, address, local, f"who-{number}"), way, message)
