"""Reading what the kernel tells of its SAs, as its own header lays it out."""

from __future__ import annotations

import struct
import subprocess
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.changes import changed

NEWSA, DELSA, GETSA, EXPIRE, UPDSA, FLUSHSA = 0x10, 0x11, 0x12, 0x18, 0x1A, 0x1C
PROGRAM = """\
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
static void put(const void *data, size_t size) { fwrite(data, 1, size, stdout); }
int main(void)
{
    struct xfrm_usersa_info sa;
    memset(&sa, 0xee, sizeof sa);
    memset(&sa.id.daddr, 1, sizeof sa.id.daddr);
    memset(&sa.saddr, 2, sizeof sa.saddr);
    sa.family = AF_INET;
    put(&sa, sizeof sa);
    sa.family = AF_INET6;
    put(&sa, sizeof sa);
    const int numbers[] = {sizeof(struct xfrm_usersa_id), XFRMA_SA, XFRMNLGRP_EXPIRE, XFRMNLGRP_SA,
                           XFRM_MSG_NEWSA, XFRM_MSG_DELSA, XFRM_MSG_GETSA, XFRM_MSG_EXPIRE, XFRM_MSG_UPDSA,
                           XFRM_MSG_FLUSHSA};
    put(numbers, sizeof numbers);
    return 0;
}
"""
SIZE = 224
V4 = {ip_address("1.1.1.1"), ip_address("2.2.2.2")}
V6 = {ip_address(bytes([1] * 16)), ip_address(bytes([2] * 16))}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("changes")
    source = folder / "changes.c"
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-o", str(folder / "changes"), str(source)], check=True)
    return subprocess.run([str(folder / "changes")], check=True, capture_output=True).stdout


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def test_numbers(kernels: bytes) -> None:
    numbers = struct.unpack("=10i", kernels[2 * SIZE :])
    assert numbers == (24, 6, 2, 3, NEWSA, DELSA, GETSA, EXPIRE, UPDSA, FLUSHSA)


def test_whom_it_is_about(kernels: bytes) -> None:
    v4, v6 = kernels[:SIZE], kernels[SIZE : 2 * SIZE]
    for kind in (NEWSA, UPDSA, EXPIRE):
        assert changed(memoryview(message(kind, v4))) == V4
        assert changed(memoryview(message(kind, v6 + bytes(300)))) == V6
    removed = bytes(24) + struct.pack("=HH", 4 + SIZE, 6) + v4
    assert changed(memoryview(message(DELSA, removed))) == V4
    assert changed(memoryview(message(NEWSA, v4) + message(DELSA, removed) + message(NEWSA, v6))) == V4 | V6


def test_it_may_be_any(kernels: bytes) -> None:
    v4 = kernels[:SIZE]
    for data in (message(FLUSHSA, bytes(8)), message(DELSA, bytes(24)), message(NEWSA, v4[:100])):
        assert changed(memoryview(data)) is None
        assert changed(memoryview(message(NEWSA, v4) + data)) is None


def test_nothing_to_know() -> None:
    assert changed(memoryview(b"")) == set()
    assert changed(memoryview(message(0x13, bytes(300)))) == set()


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    changed(memoryview(data))
