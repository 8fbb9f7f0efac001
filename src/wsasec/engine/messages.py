"""What is said over the engine's control socket, in types: the Python of src/engine/control_protocol.h.

Everything that goes out is made here, and everything that comes in is read here; no descriptor is.
"""

from __future__ import annotations

import enum
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = [
    "EVENTS",
    "HEADER",
    "MESSAGE_MAX",
    "MORE",
    "VERSION",
    "Acquire",
    "Address",
    "Algorithm",
    "Association",
    "AssociationName",
    "AssociationState",
    "Direction",
    "EngineError",
    "Event",
    "Expire",
    "Hello",
    "Limits",
    "Lost",
    "Mapping",
    "MessageError",
    "Secret",
    "Totals",
    "TransportKind",
    "Type",
    "pack_association",
    "pack_device",
    "pack_spi",
    "pack_transport",
    "parse_error",
    "parse_event",
    "parse_hello",
    "parse_spi",
    "parse_states",
    "parse_totals",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

VERSION: Final = 1
MESSAGE_MAX: Final = 32768
DESCRIPTORS_MAX: Final = 64
MORE: Final = 1

HEADER: Final = struct.Struct("=HHIII")
_HELLO: Final = struct.Struct("=QII32s32s")
_ERROR: Final = struct.Struct("=iI120s")
_DEVICE: Final = struct.Struct("=4I16s")
_TRANSPORT: Final = struct.Struct("=4H")
_SPI: Final = struct.Struct("=4I")
_NAME: Final = struct.Struct("=16s16sIHBB")
_LIMITS: Final = struct.Struct("=7Q")
_SA: Final = struct.Struct("=40sIIIHHBB6x56s")
_KEY: Final = struct.Struct("=36s4x")
_STATE: Final = struct.Struct("=40sIIIHHBBH4x56s8Q")
_ACQUIRE: Final = struct.Struct("=16s16sIHBBHHI")
_EXPIRE: Final = struct.Struct("=40sIB3x")
_MAPPING: Final = struct.Struct("=40sI16sHH")
_TOTALS: Final = struct.Struct("=17Q4I")

_DEVICE_VNET: Final = 1
_DEVICE_BULK: Final = 2
_SA_ESN: Final = 1
_SA_UDP: Final = 2
_U32: Final = 0xFFFFFFFF
_U64: Final = 0xFFFFFFFFFFFFFFFF


class Type(enum.IntEnum):
    """The types of messages (enum wse_type)."""

    HELLO = 1
    ADD_DEVICE = 2
    REMOVE_DEVICE = 3
    ADD_TRANSPORT = 4
    LISTEN = 5
    START = 6
    STOP = 7
    RESERVE_SPI = 8
    ADD_SA = 9
    DELETE_SA = 10
    GET_SA = 11
    LIST_SAS = 12
    FLUSH_SAS = 13
    TOTALS = 14
    METRICS = 15
    SUBSCRIBE = 16
    SET_MAPPING = 17
    LIST_BETWEEN = 18
    ANSWER = 64
    ERROR = 65
    EVENT_ACQUIRE = 128
    EVENT_EXPIRE = 129
    EVENT_MAPPING = 130
    EVENT_LOST = 131


EVENTS: Final = (Type.EVENT_ACQUIRE, Type.EVENT_EXPIRE, Type.EVENT_MAPPING, Type.EVENT_LOST)


class Direction(enum.IntEnum):
    """Which way the packets of an association go."""

    OUTBOUND = 1
    INBOUND = 2


class Algorithm(enum.IntEnum):
    """What protects the packets: RFC 4106 (16-byte tag), RFC 7634."""

    AES_128_GCM = 1
    AES_256_GCM = 2
    CHACHA20_POLY1305 = 3

    @property
    def key_length(self) -> int:
        """Bytes of key material, the salt of 4 bytes among them."""
        return 20 if self is Algorithm.AES_128_GCM else 36


class TransportKind(enum.IntEnum):
    """What carries ESP: datagrams (RFC 3948), or the protocol 50 of IP itself."""

    UDP = 1
    RAW = 2


class MessageError(ValueError):
    """A message of the engine cannot be read."""


class EngineError(OSError):
    """The engine refused a request; `errno` says why, `strerror` in words of the engine's own."""


class Secret:
    """Key material. Its repr hides it: test runners and tracebacks print arguments."""

    __slots__ = ("_material",)

    def __init__(self, material: bytes | bytearray | memoryview) -> None:
        """Take a copy, which `wipe` overwrites."""
        self._material = bytearray(material)

    def __len__(self) -> int:
        return len(self._material)

    def __repr__(self) -> str:
        return f"<Secret of {len(self)} bytes>"

    def __reduce__(self) -> str:
        raise TypeError("a key is not for storing")

    def reveal(self) -> memoryview:
        """Return the bytes, for the engine."""
        return memoryview(self._material)

    def wipe(self) -> None:
        """Overwrite the bytes."""
        self._material[:] = bytes(len(self._material))


@dataclass(frozen=True, slots=True)
class AssociationName:
    """What tells an association apart.

    Attributes:
        source: of its packets: this host's address (outbound), or the peer's (inbound).
        destination: of its packets; of the family of `source`.
        spi: 256 to 2**32-1.
        direction: which way.
    """

    source: Address
    destination: Address
    spi: int
    direction: Direction

    def packed(self) -> bytes:
        """Return struct wse_sa_name. Raises ValueError: the families differ, or the SPI is none."""
        if self.source.version != self.destination.version:
            raise ValueError(f"{self.source} and {self.destination} are not of one family")
        _within("spi", self.spi, 1, _U32)
        ends = (packed_address(self.source), packed_address(self.destination))
        return _NAME.pack(*ends, self.spi, _family(self.source), self.direction, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """When an association expires (EVENT_EXPIRE, soft or hard); 0 is never.

    Seconds count from when it was added, idle ones from its last packet; an idle expiry is a hard one.
    """

    soft_bytes: int = 0
    hard_bytes: int = 0
    soft_packets: int = 0
    hard_packets: int = 0
    soft_seconds: int = 0
    hard_seconds: int = 0
    idle_seconds: int = 0

    def packed(self) -> bytes:
        """Return struct wse_limits. Raises ValueError: one is negative, or too large."""
        values = (
            *(self.soft_bytes, self.hard_bytes, self.soft_packets, self.hard_packets),
            *(self.soft_seconds, self.hard_seconds, self.idle_seconds),
        )
        for value in values:
            _within("limit", value, 0, _U64)
        return _LIMITS.pack(*values)


@dataclass(frozen=True, slots=True)
class Association:
    """An association to add.

    Attributes:
        name: what tells it apart.
        reqid: of the profile whose device it serves.
        algorithm: what protects its packets.
        key: of `algorithm.key_length` bytes; never one that was used before.
        ports: (source, destination) of its UDP encapsulation (RFC 3948); None for ESP as a protocol of IP.
        esn: whether sequence numbers have 64 bits (RFC 4304).
        window: packets of the replay window, inbound; 0 for the engine's default, and outbound.
        limits: when it expires.
    """

    name: AssociationName
    reqid: int
    algorithm: Algorithm
    key: Secret
    ports: tuple[int, int] | None = None
    esn: bool = True
    window: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class AssociationState:
    """An association that the engine has, without its key.

    Attributes:
        name: what tells it apart.
        reqid: of its profile.
        algorithm: what protects its packets.
        ports: (source, destination) of its UDP encapsulation; None for ESP as a protocol of IP.
        esn: whether sequence numbers have 64 bits.
        window: packets of the replay window.
        limits: when it expires.
        soft_expired: whether a soft limit was reached.
        path_mtu: bytes of a packet, before it is encrypted, that the way to the peer takes uncut (outbound);
            0: as many as the device, as far as is known.
        packets: that passed.
        bytes: of inner packets that passed.
        sequence: the last number sent, or the highest one that was authenticated.
        replayed: packets outside the window, or seen before (inbound).
        forged: packets whose tag was wrong (inbound).
        refused: packets whose inner packet is not allowed (inbound).
        age_seconds: since it was added.
        idle_seconds: since its last packet.
    """

    name: AssociationName
    reqid: int
    algorithm: Algorithm
    ports: tuple[int, int] | None
    esn: bool
    window: int
    limits: Limits
    soft_expired: bool
    path_mtu: int
    packets: int
    bytes: int
    sequence: int
    replayed: int
    forged: int
    refused: int
    age_seconds: int
    idle_seconds: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers.

    Attributes:
        instance: drawn at each start of an engine: associations of another one are gone.
        pid: its process.
        threads: of each direction: so many queues of a device, and sockets of a transport, are served.
        crypto: the library that does it, with its version.
        version: of the engine.
    """

    instance: int
    pid: int
    threads: int
    crypto: str
    version: str


@dataclass(frozen=True, slots=True)
class Acquire:
    """A packet waits for an association that is not there.

    Attributes:
        source: None: not chosen yet.
        destination: the peer.
        reqid: of the profile.
        protocol: of the packet, a number of IP.
        source_port: of the packet; 0 where its protocol has none.
        destination_port: likewise.
    """

    source: Address | None
    destination: Address
    reqid: int
    protocol: int
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class Expire:
    """An association reached a limit; `hard`: it is gone."""

    name: AssociationName
    reqid: int
    hard: bool


@dataclass(frozen=True, slots=True)
class Mapping:
    """A peer behind a NAT: from where authenticated packets come (event), or where packets go from now on."""

    name: AssociationName
    reqid: int
    address: Address
    port: int

    def packed(self) -> bytes:
        """Return struct wse_mapping. Raises ValueError."""
        _within("reqid", self.reqid, 1, _U32)
        _within("port", self.port, 1, 0xFFFF)
        return _MAPPING.pack(self.name.packed(), self.reqid, packed_address(self.address), self.port, 0)


@dataclass(frozen=True, slots=True)
class Lost:
    """Events were lost, as they were not read in time: ask for what there is."""


Event: TypeAlias = Acquire | Expire | Mapping | Lost


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters of the engine since its start, of inner packets; the last four are numbers of now."""

    sent_packets: int
    sent_bytes: int
    received_packets: int
    received_bytes: int
    held: int
    held_lost: int
    acquires: int
    unknown_spi: int
    malformed: int
    replayed: int
    forged: int
    refused: int
    no_buffer: int
    fragments: int
    fragments_lost: int
    reassembled: int
    too_big: int
    sas: int
    devices: int
    transports: int
    subscribers: int


def _within(what: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{what}: {value!r} is not {least} to {most}")


def _family(address: Address) -> int:
    return int(socket.AF_INET if address.version == 4 else socket.AF_INET6)


def packed_address(address: Address) -> bytes:
    """Return an address in sixteen bytes, as the protocol has it."""
    return address.packed.ljust(16, b"\0")


def _address(data: bytes, family: int) -> Address:
    if family == socket.AF_INET:
        if any(data[4:]):
            raise MessageError("an IPv4 address of more than four bytes")
        return ipaddress.IPv4Address(data[:4])
    if family == socket.AF_INET6:
        return ipaddress.IPv6Address(data)
    raise MessageError(f"an address of family {family}")


def _text(data: bytes) -> str:
    """Read what may be anything: it is shown to people."""
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def pack_association(association: Association) -> bytearray:
    """Return struct wse_sa with its key: to be overwritten when it was sent. Raises ValueError."""
    one = association
    _within("reqid", one.reqid, 1, _U32)
    _within("window", one.window, 0, _U32)
    if len(one.key) != one.algorithm.key_length:
        raise ValueError(
            f"key: {len(one.key)} bytes, but {one.algorithm.name} takes {one.algorithm.key_length}"
        )
    ports = one.ports or (0, 0)
    for port in ports:
        _within("port", port, 1 if one.ports else 0, 0xFFFF)
    flags = _SA_ESN * one.esn | _SA_UDP * (one.ports is not None)
    packed = bytearray(
        _SA.pack(
            *(one.name.packed(), one.reqid, flags, one.window),
            *(*ports, one.algorithm, len(one.key), one.limits.packed()),
        )
    )
    start = len(packed)
    packed += bytes(_KEY.size)
    with one.key.reveal() as key:
        packed[start : start + len(key)] = key
    return packed


def pack_device(reqid: int, *, ifindex: int = 0, mtu: int = 0, name: str = "", bulk: bool = False) -> bytes:
    """Return struct wse_device of a TUN device with IFF_VNET_HDR; of its reqid alone, to name one."""
    _within("reqid", reqid, 0, _U32)
    flags = (_DEVICE_VNET if ifindex else 0) | (_DEVICE_BULK if bulk else 0)
    return _DEVICE.pack(reqid, ifindex, mtu, flags, os.fsencode(name))


def pack_transport(kind: TransportKind, family: int, port: int) -> bytes:
    """Return struct wse_transport."""
    return _TRANSPORT.pack(kind, port, family, 0)


def pack_spi(least: int, most: int) -> bytes:
    """Return struct wse_spi: the range to choose from. Raises ValueError."""
    _within("least", least, 256, _U32)
    _within("most", most, least, _U32)
    return _SPI.pack(least, most, 0, 0)


def _whole(layout: struct.Struct, data: bytes | memoryview, what: str) -> tuple[int, ...]:
    if len(data) != layout.size:
        raise MessageError(f"{what} of {len(data)} bytes, not of {layout.size}")
    return layout.unpack(data)


def parse_hello(data: bytes) -> Hello:
    """Read struct wse_hello. Raises MessageError."""
    if len(data) != _HELLO.size:
        raise MessageError(f"a hello of {len(data)} bytes, not of {_HELLO.size}")
    instance, pid, threads, crypto, version = _HELLO.unpack(data)
    return Hello(instance, pid, threads, _text(crypto), _text(version))


def parse_error(data: bytes) -> EngineError:
    """Read struct wse_error. Raises MessageError."""
    if len(data) != _ERROR.size:
        raise MessageError(f"an error of {len(data)} bytes, not of {_ERROR.size}")
    code, _, text = _ERROR.unpack(data)
    return EngineError(code, _text(text) or os.strerror(code))


def parse_spi(data: bytes) -> int:
    """Read struct wse_spi; return the one that was chosen. Raises MessageError."""
    return _whole(_SPI, data, "an SPI")[2]


def parse_totals(data: bytes) -> Totals:
    """Read struct wse_totals. Raises MessageError."""
    return Totals(*_whole(_TOTALS, data, "totals"))


def _parse_name(data: bytes) -> AssociationName:
    source, destination, spi, family, direction, _ = _NAME.unpack(data)
    try:
        way = Direction(direction)
    except ValueError:
        raise MessageError(f"an association of direction {direction}") from None
    return AssociationName(_address(source, family), _address(destination, family), spi, way)


def pack_ends(source: Address | None, destination: Address | None) -> bytes:
    """Return struct wse_sa_name with addresses; one may be None: any. Raises ValueError: of two families."""
    known = [each for each in (source, destination) if each is not None]
    if len({each.version for each in known}) != 1:
        raise ValueError(f"{source} and {destination} are not of one family")
    ends = (bytes(16) if each is None else packed_address(each) for each in (source, destination))
    return _NAME.pack(*ends, 0, _family(known[0]), 0, 0)


def parse_states(data: bytes) -> list[AssociationState]:
    """Read as many struct wse_sa_state as there are. Raises MessageError."""
    if len(data) % _STATE.size:
        raise MessageError(f"associations of {len(data)} bytes, not of a multiple of {_STATE.size}")
    return [_parse_state(values) for values in _STATE.iter_unpack(data)]


def _parse_state(values: tuple[bytes | int, ...]) -> AssociationState:
    name, reqid, flags, window, source_port, port, algorithm, expired, path_mtu, limits, *counters = values
    assert isinstance(name, bytes) and isinstance(limits, bytes) and isinstance(flags, int)  # noqa: S101, PT018
    packets, inner, sequence, replayed, forged, refused, age, idle = map(int, counters)
    try:
        known = Algorithm(int(algorithm))
    except ValueError:
        raise MessageError(f"an association of algorithm {algorithm!r}") from None
    return AssociationState(
        _parse_name(name),
        int(reqid),
        known,
        (int(source_port), int(port)) if flags & _SA_UDP else None,
        bool(flags & _SA_ESN),
        int(window),
        Limits(*_LIMITS.unpack(limits)),
        bool(expired),
        int(path_mtu),
        *(packets, inner, sequence, replayed, forged, refused, age, idle),
    )


def parse_event(kind: int, data: bytes) -> Event:
    """Read what an event says. Raises MessageError: it is none, or cannot be read."""
    sizes = {
        Type.EVENT_ACQUIRE: _ACQUIRE.size,
        Type.EVENT_EXPIRE: _EXPIRE.size,
        Type.EVENT_MAPPING: _MAPPING.size,
        Type.EVENT_LOST: 0,
    }
    size = sizes.get(Type(kind)) if kind in EVENTS else None
    if size is None:
        raise MessageError(f"an event of type {kind}")
    if len(data) != size:
        raise MessageError(f"an event of type {kind} of {len(data)} bytes, not of {size}")
    if kind == Type.EVENT_ACQUIRE:
        source, destination, reqid, family, protocol, _, source_port, port, _ = _ACQUIRE.unpack(data)
        chosen = _address(source, family) if any(source) else None
        return Acquire(chosen, _address(destination, family), reqid, protocol, source_port, port)
    if kind == Type.EVENT_EXPIRE:
        name, reqid, hard = _EXPIRE.unpack(data)
        return Expire(_parse_name(name), reqid, bool(hard))
    if kind == Type.EVENT_MAPPING:
        name, reqid, address, port, _ = _MAPPING.unpack(data)
        named = _parse_name(name)
        return Mapping(named, reqid, _address(address, _family(named.source)), port)
    return Lost()
