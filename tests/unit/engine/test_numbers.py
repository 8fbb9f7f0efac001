"""What is calculated for a device: sizes of packets, the number of its table, its routes."""

from __future__ import annotations

import ipaddress
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.engine import rules
from wsasec.engine.device import Device, device_name, gso_size, inner_mtu, queue_length
from wsasec.engine.routes import _Choice, pruned, table_of
from wsasec.profiles import Profile


def profile(reqid: int) -> Profile:
    return Profile("p", uuid.UUID(int=1), reqid, 0x57000000, 0xFF000000)


def encrypted(size: int, header: int, udp: bool) -> int:
    """How large a packet is after it was encrypted (RFC 4303, section 2; RFC 3948, section 2.1)."""
    body = size - header + 2
    return header + 8 * udp + 8 + 8 + body + -body % 4 + 16


@pytest.mark.parametrize("udp", [True, False], ids=["udp", "raw"])
@given(path=st.integers(1400, 65535))
def test_the_largest_packet_fits_the_path(udp: bool, path: int) -> None:
    inner = inner_mtu(path, "udp" if udp else "raw")
    for header in (20, 40):
        assert encrypted(inner, header, udp) <= path
    assert encrypted(inner + 4, 40, udp) > path


def test_usual_sizes() -> None:
    assert inner_mtu(1500) == 1458
    assert inner_mtu(1500, "raw") == 1466


@given(st.integers(1280, 65535))
def test_the_segments_of_the_largest_packet_go_in_one_call(mtu: int) -> None:
    most = gso_size(mtu)
    segments = -(-(most - 72) // (mtu - 72))
    assert 1 <= segments <= 64
    assert segments * (encrypted(mtu, 40, udp=False) - 40) <= 65507 or segments == 1
    assert most <= 65535


@given(queues=st.integers(1, 32), memory=st.integers(1 << 27, 1 << 40))
def test_what_waits_is_a_small_part_of_the_memory(queues: int, memory: int) -> None:
    length = queue_length(queues, memory)
    assert 500 <= length <= 8000
    assert length * queues * 65536 <= memory / 8 or length == 500
    assert queue_length(queues, 2 * memory) >= length


def test_usual_queues() -> None:
    assert queue_length(2, 16 << 30) == 8000
    assert queue_length(4, 4 << 30) == 2048


@given(st.integers(1, 0xFFFFFFFF), st.integers(1, 0xFFFFFFFF))
def test_each_profile_has_a_table_of_its_own(one: int, other: int) -> None:
    try:
        assert (table_of(profile(one)) == table_of(profile(other))) is (one == other)
    except ValueError:
        assert {one, other} & {0x57000000 ^ table for table in (0, 253, 254, 255)}


@pytest.mark.parametrize("table", [0, 253, 254, 255])
def test_tables_of_the_kernel_are_not_taken(table: int) -> None:
    with pytest.raises(ValueError, match="reqid"):
        table_of(profile(0x57000000 ^ table))


def test_names_fit() -> None:
    assert device_name(profile(0xFFFFFFFF)) == "ws4294967295"
    assert len(device_name(profile(0xFFFFFFFF))) < 16


@pytest.mark.parametrize(
    ("mtu", "threads", "words"),
    [(1279, 1, "mtu"), (65536, 1, "mtu"), (1458, 0, "threads"), (1458, 17, "threads")],
)
def test_numbers_out_of_range(mtu: int, threads: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Device.create(profile(1), threads, mtu=mtu)


def test_rules_are_of_one_profile() -> None:
    one = rules.text(profile(7))
    assert one.startswith("table inet wsasec_7 {")
    assert '"ws7"' in one
    assert "0x57000000" in one
    assert "0x00ffffff" in one
    assert "{device}" not in one


def source_for(choices: list[_Choice], address: ipaddress.IPv4Address) -> object:
    """The source of the smallest network that has an address; the first of equal ones."""
    found = [each for each in choices if address in each.network]
    return max(found, key=lambda each: each.network.prefixlen).source if found else "no route"


SOURCES = [ipaddress.ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.0.3")]


@given(
    st.lists(
        st.builds(
            lambda host, length, source: _Choice(
                ipaddress.ip_network((0x0A000000 | host, length), strict=False), source
            ),
            st.integers(0, 255),
            st.integers(22, 32) | st.just(0),
            st.sampled_from([None, *SOURCES]),
        ),
        max_size=12,
    )
)
def test_what_is_left_out_changes_no_source(choices: list[_Choice]) -> None:
    left = pruned(choices)
    assert len(left) <= len(choices)
    for host in range(256):
        address = ipaddress.IPv4Address(0x0A000000 | host)
        assert source_for(left, address) == source_for(choices, address)
