"""A capture that counts: ESP packets, clear packets by state, everything else by name.

The kernel writes the heads of all frames into a ring of shared memory, so that counting costs no system
call per packet and a burst is not lost while Python is busy. What is lost all the same is counted, too.
"""

from __future__ import annotations

import array
import copy
import mmap
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from .errors import LabError
from .namespace import Namespace
from .packets import ESP, encapsulated_spi, inner, parse

__all__ = ["Capture", "Counts"]

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V3: Final = 2
_SO_ATTACH_FILTER: Final = 26
_TP_STATUS_USER: Final = 1

_BLOCK: Final = 1 << 18
_BLOCKS: Final = 64
_RETIRE_MS: Final = 20
_HEAD: Final = 192
_WHOLE: Final = 0x40000
_FIRST_CLEAR: Final = 16
_SETTLE_DEADLINE: Final = 5.0
_JOIN_DEADLINE: Final = 10.0

# struct tpacket_block_desc from block_status on: status, packets, offset of the first.
_BLOCK_HEAD: Final = struct.Struct("=III")
_BLOCK_STATUS: Final = 8
# struct tpacket3_hdr: next, sec, nsec, snaplen, len, status, mac.
_FRAME_HEAD: Final = struct.Struct("=IIIIIIH")


@dataclass(slots=True)
class Counts:
    """What passed the wire, both ways.

    Attributes:
        esp: ESP packets and fragments of such.
        clear: IP packets that are neither ESP, nor IKE, nor neighbours' housekeeping; and whatever is not IP.
        neighbour: ARP, neighbour solicitations and advertisements, router solicitations, MLD, IGMP.
        ike: IKE datagrams.
        clear_by_state: `clear` by packets.Kind.state: "SYN", "DATA", "UDP", ...
        inner: what the ESP packets carry, by the same states; only of a lab with integrity_only.
        esp_bytes: bytes of the ESP frames, Ethernet header included.
        dropped: frames that the capture missed. A proof needs 0.
        first_clear: heads of the first 16 clear frames, for the messages of failing tests.
    """

    esp: int = 0
    clear: int = 0
    neighbour: int = 0
    ike: int = 0
    clear_by_state: Counter[str] = field(default_factory=Counter)
    inner: Counter[str] = field(default_factory=Counter)
    esp_bytes: int = 0
    dropped: int = 0
    first_clear: list[bytes] = field(default_factory=list)


def _accept_heads(size: int) -> tuple[bytes, array.array[int]]:
    """Make a filter that takes the first `size` bytes of every frame; the array must outlive its use."""
    # struct sock_filter: BPF_RET | BPF_K, no jumps, size.
    program = array.array("Q", struct.pack("=HBBI", 6, 0, 0, size))
    return struct.pack("HP", 1, program.buffer_info()[0]), program


class Capture:
    """Counts the frames on a namespace's device while its `with` block runs.

    Attributes:
        counts: as of now; final after the block.
    """

    def __init__(self, namespace: Namespace, *, inner: bool = False, spis: Container[int] = ()) -> None:
        """Describe a capture; entering it starts it.

        Args:
            namespace: on whose device.
            inner: whether to look into ESP packets, which must not be encrypted.
            spis: datagrams of port 4500 that begin with one of these are ESP (RFC 3948), and no others. It
                is looked at as they come in, so it can be added to.
        """
        self.counts = Counts()
        self._namespace = namespace
        self._inner = inner
        self._spis = spis
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._exit = ExitStack()
        self._seen = 0
        self._passed = 0

    def __enter__(self) -> Capture:
        """Start counting: every frame from now on.

        Raises:
            OSError: the kernel refused the socket or its ring.
            LabError: the namespace is closed.
        """
        with ExitStack() as stack:
            namespace = self._namespace
            sock = stack.enter_context(namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            option, program = _accept_heads(_WHOLE if self._inner else _HEAD)
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
            del program
            ring = (_BLOCK, _BLOCKS, 2048, _BLOCK // 2048 * _BLOCKS, _RETIRE_MS, 0, 0)
            sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("=7I", *ring))
            memory = mmap.mmap(sock.fileno(), _BLOCK * _BLOCKS)
            stack.callback(memory.close)
            wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(os.close, wake)
            # Bound last: not a frame comes in before there is room for it.
            sock.bind((namespace.device, _ETH_P_ALL))
            thread = threading.Thread(
                target=self._work,
                args=(sock, memory, wake),
                name=f"wsasec-capture-{namespace.name}",
                daemon=True,
            )
            thread.start()
            stack.callback(self._stop, thread, wake)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, when every frame that came in before has been counted.

        Raises:
            LabError: the counting failed; its counts prove nothing.
        """
        self._exit.close()
        if self._failure is not None:
            raise LabError(f"the capture failed: {self._failure}") from self._failure

    def wait(self, predicate: Callable[[Counts], bool], timeout: float) -> bool:
        """Wait until the counts are as wanted.

        Args:
            predicate: asked after each batch of frames; it must not change the counts.
            timeout: seconds.

        Returns:
            False if they were not so by then.

        Raises:
            LabError: the counting failed.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._failure is not None or predicate(self.counts), timeout
            )
            if self._failure is not None:
                raise LabError(f"the capture failed: {self._failure}") from self._failure
            return done

    def snapshot(self) -> Counts:
        """Return a copy of the counts that stays as it is."""
        with self._changed:
            return copy.deepcopy(self.counts)

    def _stop(self, thread: threading.Thread, wake: int) -> None:
        self._stopping.set()
        os.eventfd_write(wake, 1)
        thread.join(_JOIN_DEADLINE)
        if thread.is_alive():
            raise LabError(f"the capture did not stop within {_JOIN_DEADLINE:.0f} s")

    def _work(self, sock: socket.socket, memory: mmap.mmap, wake: int) -> None:
        try:
            self._count(sock, memory, wake)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asks
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _count(self, sock: socket.socket, memory: mmap.mmap, wake: int) -> None:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(wake, select.POLLIN)
        block = 0
        deadline = float("inf")
        while True:
            start = block * _BLOCK
            if _BLOCK_HEAD.unpack_from(memory, start + _BLOCK_STATUS)[0] & _TP_STATUS_USER:
                self._take(memory, start)
                struct.pack_into("=I", memory, start + _BLOCK_STATUS, 0)
                block = (block + 1) % _BLOCKS
                continue
            if self._stopping.is_set():
                # The last block is open until its time is up; the kernel's count says whether all is in.
                if deadline == float("inf"):
                    poll.unregister(wake)
                    deadline = time.monotonic() + _SETTLE_DEADLINE
                    self._ask(sock)
                missing = self._passed - self.counts.dropped - self._seen
                if missing <= 0:
                    return
                if time.monotonic() > deadline:
                    raise LabError(f"{missing} frames did not come out of the ring")
            poll.poll(1000.0 if deadline == float("inf") else _RETIRE_MS)
            if not self._stopping.is_set():
                self._ask(sock)

    def _ask(self, sock: socket.socket) -> None:
        """Add up the kernel's statistics, which it sets back when asked."""
        answer = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        passed, dropped, _ = struct.unpack("=III", answer)
        with self._changed:
            self._passed += passed
            self.counts.dropped += dropped
            if dropped:
                self._changed.notify_all()

    def _take(self, memory: mmap.mmap, start: int) -> None:
        _, frames, offset = _BLOCK_HEAD.unpack_from(memory, start + _BLOCK_STATUS)
        at = start + offset
        with self._changed:
            counts = self.counts
            for _ in range(frames):
                following, _, _, captured, length, _, mac = _FRAME_HEAD.unpack_from(memory, at)
                self._count_frame(counts, memory[at + mac : at + mac + captured], length)
                at += following
            self._seen += frames
            self._changed.notify_all()

    def _count_frame(self, counts: Counts, frame: bytes, length: int) -> None:
        kind = parse(frame)
        if kind.group == "clear" and (spi := encapsulated_spi(frame)) is not None and spi in self._spis:
            kind = ESP
        if kind.group == "esp":
            counts.esp += 1
            counts.esp_bytes += length
            if self._inner:
                counts.inner[inner(frame).state] += 1
        elif kind.group == "clear":
            counts.clear += 1
            counts.clear_by_state[kind.state] += 1
            if len(counts.first_clear) < _FIRST_CLEAR:
                counts.first_clear.append(frame[:_HEAD])
        elif kind.group == "neighbour":
            counts.neighbour += 1
        else:
            counts.ike += 1
