import struct
import subprocess
import sys
from collections import Counter

import pytest
from wsasec.bench.proof import LeakError, check
from wsasec.bench.wire import Passed, _division

PROOF = {"sa_bytes": 1100, "payload_bytes": 1000}


SPI = 0xC1020304


def run_filter(program: bytes, frame: bytes) -> int:
    """Run a classic packet filter of the instructions that are used, as the kernel would."""
    steps = list(struct.iter_unpack("=HBBI", program))
    at = register = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        if code == 0x06:
            return int(operand)
        if code in (0x15, 0x35, 0x45):
            is_so = {0x15: register == operand, 0x35: register >= operand, 0x45: register & operand != 0}[
                code
            ]
            at += 1 + (if_true if is_so else if_false)
            continue
        if code == 0x80:
            register = len(frame)
            at += 1
            continue
        size = {0x20: 4, 0x28: 2, 0x30: 1}[code]
        if operand + size > len(frame):
            return 0
        register = int.from_bytes(frame[operand : operand + size], "big")
        at += 1


def ethernet(kind: int, protocol_at: int, protocol: int) -> bytes:
    frame = bytearray(64)
    frame[12:14] = kind.to_bytes(2, "big")
    frame[protocol_at] = protocol
    return bytes(frame)


@pytest.mark.parametrize(
    ("frame", "esp"),
    [
        (ethernet(0x0800, 23, 50), True),
        (ethernet(0x0800, 23, 6), False),
        (ethernet(0x0800, 20, 50), False),
        (ethernet(0x86DD, 20, 50), True),
        (ethernet(0x86DD, 20, 6), False),
        (ethernet(0x86DD, 23, 50), False),
        (ethernet(0x0806, 23, 50), False),
        (ethernet(0x1234, 20, 50), False),
    ],
)
def test_every_frame_is_counted_by_exactly_one_filter(frame: bytes, esp: bool) -> None:
    assert run_filter(_division(1, 0), frame) == (1 if esp else 0)
    assert run_filter(_division(0, 192), frame) == (0 if esp else 192)


def datagram(
    spi: int = SPI,
    *,
    version: int = 4,
    ports: tuple[int, int] = (4500, 4500),
    header: int = 0x45,
    offset: int = 0,
    protocol: int = 17,
) -> bytes:
    if version == 4:
        head = bytes([header, 0, 0, 60, 0, 0, offset >> 8, offset & 255, 64, protocol]) + bytes(10)
    else:
        head = bytes([0x60, 0, 0, 0, 0, 40, protocol, 64]) + bytes(32)
    kind = 0x0800 if version == 4 else 0x86DD
    return bytes(12) + struct.pack(">H", kind) + head + struct.pack(">HHHHI", *ports, 40, 0, spi) + bytes(32)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("spis", [(SPI,), (7, SPI), (SPI, 7), (7, SPI, 9)])
def test_esp_in_udp_is_told_by_its_spi(version: int, spis: tuple[int, ...]) -> None:
    ports = [(4500, 53), (53, 4500), (4501, 4500)]
    clear = [
        datagram(SPI ^ 1, version=version),
        datagram(0, version=version),  # IKE
        datagram(version=version, protocol=6),
        *(datagram(version=version, ports=each) for each in ports),
    ]
    if version == 4:
        # Options, the rest of a datagram, and none at all where the SPI would be.
        clear += [datagram(header=0x46), datagram(offset=1), datagram(offset=0x2001)]
    clear.append(datagram(version=version)[: 45 if version == 4 else 65])
    secured = [datagram(version=version), ethernet(0x0800, 23, 50), ethernet(0x86DD, 20, 50)]
    if version == 4:
        secured.append(datagram(offset=0x4000))  # not to be fragmented
    for frame in secured:
        assert (run_filter(_division(1, 0, spis), frame), run_filter(_division(0, 9, spis), frame)) == (1, 0)
    for frame in clear:
        assert (run_filter(_division(1, 0, spis), frame), run_filter(_division(0, 9, spis), frame)) == (0, 9)


def test_without_an_spi_no_datagram_is_esp() -> None:
    for version in (4, 6):
        assert run_filter(_division(1, 0), datagram(version=version)) == 0
        assert run_filter(_division(0, 9), datagram(version=version)) == 9


def test_a_clean_wire_passes() -> None:
    check(Passed(esp=10), PROOF)


@pytest.mark.parametrize(
    ("passed", "proof", "text"),
    [
        (Passed(clear=1, clear_by_state=Counter(SYN=1)), PROOF, "1 packets .* in clear: .*SYN"),
        (Passed(dropped=2), PROOF, "2 frames .* prove nothing"),
        (Passed(), {"sa_bytes": 999, "payload_bytes": 1000}, "1000 bytes came in, and only 999"),
    ],
)
def test_a_leak_is_an_error(passed: Passed, proof: dict[str, int], text: str) -> None:
    with pytest.raises(LeakError, match=text):
        check(passed, proof)


def test_what_need_not_be_secured_may_be_in_clear() -> None:
    check(Passed(clear=1, dropped=1), PROOF, all_secured=False)
    with pytest.raises(LeakError, match="1000 bytes came in"):
        check(Passed(), {"sa_bytes": 999, "payload_bytes": 1000}, all_secured=False)


# On a loopback device every packet passes twice: out, and in.
ON_LOOPBACK = """
import socket
from wsasec.lab import enter_private_namespaces, missing_privileges, private
from wsasec.bench.wire import Wire
if missing_privileges():
    enter_private_namespaces()
with private("wire") as namespace:
    with Wire(namespace) as wire:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 50) as esp, \\
             socket.socket(socket.AF_INET6, socket.SOCK_RAW, 50) as esp6, \\
             socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, \\
             socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            receiver.bind(("127.0.0.1", 0))
            for _ in range(300):
                esp.sendto(bytes(64), ("127.0.0.1", 0))
                esp6.sendto(bytes(64), ("::1", 0))
            for _ in range(5):
                sender.sendto(b"clear", receiver.getsockname())
    passed = wire.passed
    assert passed.esp == 1200, passed
    assert passed.dropped == 0, passed
    # The kernel has no use for such packets and says so by ICMP, now and then.
    assert passed.clear_by_state["UDP"] == 10, passed
    assert passed.clear_by_state.keys() <= {"UDP", "ICMP", "ICMPV6"}, passed
    assert passed.clear == passed.clear_by_state.total(), passed
"""


# Connections that nobody has any more, with data that their peers never read.
LEFT_BEHIND = """
import socket
from types import SimpleNamespace
from wsasec.lab import enter_private_namespaces, missing_privileges, private
from wsasec.bench import proof
if missing_privileges():
    enter_private_namespaces()
proof._SETTLE = 0.2
with private("proof") as namespace:
    lab = SimpleNamespace(a=namespace, b=namespace)
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        proof.settle(lab)  # a listener sends nothing by itself
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            try:
                proof.settle(lab)
            except proof.LeakError as error:
                assert "connections are left" in str(error), error
                assert "{'01': 4}" in str(error), error  # both ends, seen twice
            else:
                raise AssertionError("two ends of a connection were not seen")
            client.close()
    proof._SETTLE = 30
    proof.settle(lab)  # TIME_WAIT is silent, too
"""


@pytest.mark.linux
def test_what_passes_is_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_LOOPBACK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.linux
def test_what_may_still_send_is_waited_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
