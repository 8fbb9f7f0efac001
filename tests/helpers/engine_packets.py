"""What a packet goes through in the engine, called from Python: src/engine, compiled for the test."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ENGINE = ROOT / "src/engine"
SOURCES = ("checksum.c", "packet.c", "segment.c", "inner.c", "merge.c", "reassemble.c", "icmp.c")
STEPS = ROOT / "tests/engine/c/packet_steps.c"

NONE, TCP4, TCP6, UDP_L4 = 0, 1, 4, 5  # VIRTIO_NET_HDR_GSO_...
NEEDS_CHECKSUM = 1
MERGE_TCP, MERGE_UDP = 1, 2
OFFLOAD = struct.Struct("=BBHHHH")  # struct virtio_net_hdr
REFUSALS = (
    *("fine", "short", "version", "header", "options", "routing"),
    *("address", "protocol", "offload", "fragment", "checksum"),
)


class RefusedError(Exception):
    """A packet is not carried; the argument says why, as wse_refusal_name does."""


@dataclass(frozen=True)
class Frame:
    """What is read from, or written to, a queue of a TUN device: a virtio_net_hdr and an IP packet."""

    packet: bytes
    flags: int = 0
    gso: int = NONE
    header: int = 0
    size: int = 0
    start: int = 0
    offset: int = 0

    def __bytes__(self) -> bytes:
        return (
            OFFLOAD.pack(self.flags, self.gso, self.header, self.size, self.start, self.offset) + self.packet
        )

    @classmethod
    def of(cls, frame: bytes) -> Frame:
        flags, gso, header, size, start, offset = OFFLOAD.unpack_from(frame)
        return cls(frame[OFFLOAD.size :], flags, gso, header, size, start, offset)


class Packets:
    """The functions. Each takes and returns whole packets, and raises RefusedError where one is refused."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc")
        if not ENGINE.is_dir() or not compiler:
            pytest.skip("no C sources, or no gcc: run from the source tree, apt-get install gcc")
        target = folder / "packets.so"
        command = [
            compiler,
            *("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-shared", "-fPIC"),
            *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
            f"-I{ENGINE}",
            str(STEPS),
            *(str(ENGINE / name) for name in SOURCES),
            *("-o", str(target)),
        ]
        subprocess.run(command, check=True, timeout=120)
        self._library = ctypes.CDLL(str(target))
        self._out = ctypes.create_string_buffer(8 << 20)

    def _taken(self, count: int, numbers: int = 1) -> list[tuple[int, ...]]:
        if count < 0:
            raise RefusedError(REFUSALS[-1 - count])
        found, at, raw = [], 0, memoryview(self._out)
        for _ in range(count):
            read = struct.unpack_from(f"={numbers}I", raw, at)
            at += 4 * numbers
            found.append((*read[:-1], bytes(raw[at : at + read[-1]])))
            at += read[-1]
        return found

    def cut(self, frame: Frame) -> list[bytes]:
        """A frame of a TUN device's as the IP packets that are sealed."""
        raw = bytes(frame)
        count = self._library.steps_cut(raw, ctypes.c_size_t(len(raw)), self._out)
        return [packet for (packet,) in self._taken(count)]

    def receive(
        self, packets: Sequence[bytes], *, offloads: int = MERGE_TCP | MERGE_UDP, anew: bool = False
    ) -> list[Frame]:
        """IP packets of one batch as the frames that are written to a TUN device."""
        raw = b"".join(struct.pack("=I", len(packet)) + packet for packet in packets)
        count = self._library.steps_receive(raw, ctypes.c_size_t(len(raw)), offloads, anew, self._out)
        return [Frame.of(frame) for (frame,) in self._taken(count)]

    def reassemble(
        self, fragments: Iterable[tuple[int, bytes]], datagrams: int = 16
    ) -> tuple[list[tuple[int, bytes]], int]:
        """Fragments with times in ms as datagrams with the number of the last one; and how many were lost."""
        raw = b"".join(struct.pack("=II", now, len(packet)) + packet for now, packet in fragments)
        lost = ctypes.c_uint64()
        count = self._library.steps_reassemble(
            raw, ctypes.c_size_t(len(raw)), datagrams, self._out, ctypes.byref(lost)
        )
        return [(index, packet) for index, packet in self._taken(count, 2)], lost.value

    def too_big(self, frame: Frame, mtu: int) -> Frame | None:
        """What is written to the TUN device about a frame, if it is larger than that."""
        raw = bytes(frame)
        count = self._library.steps_too_big(raw, ctypes.c_size_t(len(raw)), mtu, self._out)
        found = self._taken(count)
        return Frame.of(found[0][0]) if found else None
