import struct
import subprocess
import sys
from collections import Counter

import pytest
from wsasec.bench.proof import LeakError, check
from wsasec.bench.wire import Passed, _division

PROOF = {"sa_bytes": 1100, "payload_bytes": 1000}


def run_filter(program: bytes, frame: bytes) -> int:
    """Run a classic packet filter of the four instructions that are used, as the kernel would."""
    steps = list(struct.iter_unpack("=HBBI", program))
    at = register = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        if code == 0x06:
            return int(operand)
        if code == 0x15:
            at += 1 + (if_true if register == operand else if_false)
            continue
        size = {0x28: 2, 0x30: 1}[code]
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
