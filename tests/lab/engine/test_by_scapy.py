"""What both ends put on the wire, opened by scapy's ESP and compared with what the programs sent."""

from __future__ import annotations

import os
import socket

import pytest

pytestmark = pytest.mark.lab


def _opened_by_scapy(pair, outer) -> bytes:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP, SecurityAssociation

    association = pair.association(int.from_bytes(outer.esp[:4], "big"))
    theirs = SecurityAssociation(
        ESP,
        spi=association.spi,
        crypt_algo="CHACHA20-POLY1305" if association.chacha else "AES-GCM",
        crypt_key=association.key,
        esn_en=association.esn,
        esn=0,
    )
    header = IP if pair.family == socket.AF_INET else IPv6
    packet = header(src=outer.source, dst=outer.target) / ESP(outer.esp)
    opened = theirs.decrypt(header(bytes(packet)), esn_en=association.esn, esn=0)
    return bytes(opened.payload)


def test_datagrams(make_pair, encapsulation, algorithm, esn):
    pytest.importorskip("scapy")
    with make_pair(encapsulation=encapsulation, algorithm=algorithm, esn=esn) as pair:
        first, second = pair.datagrams()
        sent = []
        for size in (0, 1, 2, 3, 500, 1300, 3000):
            for sender, receiver in ((first, second), (second, first)):
                data = os.urandom(size)
                sender.send(data)
                assert receiver.recv(1 << 17) == data
                sent.append(data)
        assert [_opened_by_scapy(pair, outer)[8:] for outer, _ in pair.opened()] == sent
