"""charon's names and the kernel's SAs, as sessions report them."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from fake_ike import FakeIke, FakeSas

from wsasec.config.described import RAW_KEY
from wsasec.config.model import Authentication, Config, Identity, KeyProfile, Trust
from wsasec.keys.reported import by_number, ike_association, security_associations
from wsasec.policy import Direction, Encryption, Exchange, Group, Integrity, Method, Protocol
from wsasec.policy.checks import UNKNOWN
from wsasec.profiles import DEFAULT

PEER = ip_address("10.9.0.2")
ANYBODY = Trust(anonymous=True)
CERTIFIED = Identity("a.example", Authentication.CERTIFICATE, Path("a.crt"), Path("a.key"))


def config(identity: Identity = CERTIFIED, trust: Trust | None = None, **rest: Any) -> Config:
    profile = KeyProfile(DEFAULT, identity, trust or Trust(ca=(Path("ca.crt"),)), **rest)
    return Config(Path("wsasec.toml"), {"default": profile})


@pytest.fixture
def charon() -> FakeIke:
    return FakeIke(FakeSas(), {"default": DEFAULT.reqid})


def test_both_directions(charon: FakeIke) -> None:
    ike = charon.establish("default", PEER, "b.example")
    child = ike.children[0]
    sas = charon.sas.of([DEFAULT.reqid])
    sas = [dataclasses.replace(sa, hard_seconds=4000, hard_bytes=1025) for sa in sas]
    found, whole = security_associations(config(idle_seconds=7), sas, [ike])
    assert whole
    ends = {one["direction"]: one for one in found}
    assert ends[Direction.INBOUND]["spi"] == child.spi_in
    assert ends[Direction.OUTBOUND]["spi"] == child.spi_out
    for one in found:
        assert (one["local"], one["remote"]) == (str(ike.local), str(PEER))
        assert (one["main_mode_id"], one["quick_mode_id"]) == (ike.unique_id, child.unique_id)
        assert one["transform"] == (Protocol.ESP, Encryption.AES_GCM_256, Integrity.NONE)
        assert (one["lifetime_seconds"], one["lifetime_kilobytes"]) == (4000, 2)
        assert (one["lifetime_packets"], one["idle_seconds"]) == (2**32 - 1, 7)
        assert one["udp_ports"] == (0, 0)


def test_translated_addresses(charon: FakeIke) -> None:
    ike = charon.establish("default", PEER, "b.example")
    child = dataclasses.replace(ike.children[0], in_udp=True)
    ike = dataclasses.replace(ike, children=(child,), ports=(4500, 31000))
    found, _ = security_associations(config(), charon.sas.table, [ike])
    assert {one["udp_ports"] for one in found} == {(4500, 31000)}
    ike = dataclasses.replace(ike, group="default")
    assert ike_association(config(), ike)["udp_ports"] == (4500, 31000)


def test_what_nobody_made_is_left_out(charon: FakeIke) -> None:
    charon.establish("default", PEER, "b.example")
    assert security_associations(config(), charon.sas.table, []) == ([], False)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("AES_CBC", 192, "HMAC_SHA2_256_128"), (Encryption.AES_192, Integrity.SHA256)),
        (("3DES_CBC", 0, "HMAC_SHA1_96"), (Encryption.TRIPLE_DES, Integrity.SHA1)),
        (("NULL", 0, "HMAC_SHA2_512_256"), (Encryption.NONE, UNKNOWN + 14)),
        (("NULL_AES_GMAC", 128, ""), (Encryption.NONE, Integrity.AES_GMAC_128)),
        (("", 0, "AES_256_GMAC"), (Encryption.NONE, Integrity.AES_GMAC_256)),
        (("CHACHA20_POLY1305", 256, ""), (UNKNOWN + 28, Integrity.NONE)),
        (("CAMELLIA_CBC", 128, "AES_XCBC_96"), (UNKNOWN, UNKNOWN)),
    ],
)
def test_names_of_algorithms(charon: FakeIke, names: tuple[str, int, str], numbers: tuple[int, int]) -> None:
    ike = charon.establish("default", PEER, "b.example")
    encryption, bits, integrity = names
    child = dataclasses.replace(
        ike.children[0], encryption=encryption, encryption_bits=bits, integrity=integrity, dh_group="ECP_384"
    )
    found, _ = security_associations(
        config(), charon.sas.table, [dataclasses.replace(ike, children=(child,))]
    )
    assert {one["transform"] for one in found} == {(Protocol.ESP, *numbers)}
    assert {one["group"] for one in found} == {Group.ECP_384}


@pytest.mark.parametrize(
    ("group", "number"),
    [
        ("MODP_2048_256", Group.MODP_2048_256),
        ("MODP_768", Group.MODP_768),
        ("CURVE_25519", UNKNOWN + 31),
        ("", Group.NONE),
        ("NTRU_112", UNKNOWN),
    ],
)
def test_main_modes(charon: FakeIke, group: str, number: int) -> None:
    made = charon.establish("default", PEER, "b.example")
    ike = dataclasses.replace(
        made, group="default", prf="PRF_HMAC_SHA2_384", dh_group=group, spis=(5, 2**64 - 1)
    )
    found = ike_association(config(), ike)
    transform = (0, Encryption.AES_GCM_256, Integrity.SHA384)
    assert found["proposal"] == ((transform,), number, 14400, 0, 0, 0)
    assert (found["cookies"], found["policy"]) == ((5, 2**64 - 1), DEFAULT.guid.hex)
    assert found["key_module"] == Exchange.IKEV2
    assert found["credentials"] == [(Method.CERTIFICATE, 0, Method.CERTIFICATE, 0)]


@pytest.mark.parametrize(
    ("identity", "trust", "peer", "methods"),
    [
        (Authentication.PSK, Trust(), "b.example", (Method.PRESHARED_KEY, Method.PRESHARED_KEY)),
        (Authentication.RAW_KEY, Trust(), ":".join(["0a"] * 20), (RAW_KEY, RAW_KEY)),
        (Authentication.CERTIFICATE, ANYBODY, "anonymous", (Method.CERTIFICATE, Method.ANONYMOUS)),
        (Authentication.CERTIFICATE, Trust(), "anonymous", (Method.CERTIFICATE, Method.CERTIFICATE)),
    ],
)  # fmt: skip
def test_who_showed_what(
    charon: FakeIke, identity: Authentication, trust: Trust, peer: str, methods: tuple[int, int]
) -> None:
    ike = dataclasses.replace(charon.establish("default", PEER, peer), group="default")
    found = ike_association(config(Identity("a.example", identity), trust), ike)
    ((own, _, other, _),) = found["credentials"]
    assert (own, other) == methods


def test_only_the_proven_have_a_number(charon: FakeIke) -> None:
    ike = charon.establish("default", PEER, "b.example")
    begun = dataclasses.replace(ike, unique_id=77, state="CONNECTING")
    assert by_number([begun, ike], ike.unique_id) is ike
    assert by_number([begun, ike], 77) is None
    assert by_number([begun, ike], "1") is None
