"""What charon lists, as data."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.messages import MessageError, decode, encode
from wsasec.keys.parsing import certificate, event, ike_sas

CHILD = {
    "name": "default",
    "uniqueid": 3,
    "reqid": 22273,
    "state": "INSTALLED",
    "mode": "TRANSPORT",
    "protocol": "ESP",
    "spi-in": "c0ffee01",
    "spi-out": "00000002",
    "encr-alg": "AES_GCM_16",
    "encr-keysize": 256,
    "esn": 1,
    "bytes-in": 10,
    "packets-in": 1,
    "use-in": 5,
    "bytes-out": 20,
    "packets-out": 2,
    "rekey-time": 3300,
    "life-time": 3900,
    "install-time": 7,
    "local-ts": ["10.9.0.1/32"],
    "remote-ts": ["10.9.0.2/32"],
}
IKE = {
    "uniqueid": 1,
    "version": 2,
    "state": "ESTABLISHED",
    "local-host": "10.9.0.1",
    "remote-host": "10.9.0.2",
    "local-id": "a.example",
    "remote-id": "b.example",
    "initiator": "yes",
    "encr-alg": "AES_GCM_16",
    "encr-keysize": 256,
    "prf-alg": "PRF_HMAC_SHA2_384",
    "dh-group": "ECP_384",
    "established": 9,
    "child-sas": {"default-3": CHILD},
}
NAME = "wsasec-default@any/0"


def sent(message: Any) -> Any:
    return decode(encode(message))


def test_ike_sa() -> None:
    (ike,) = ike_sas(sent({"theirs": IKE, NAME: IKE, "value": "x"}))
    assert (ike.connection, ike.group, ike.unique_id, ike.version) == (NAME, "default", 1, 2)
    assert (ike.remote, ike.remote_id, ike.initiator) == (ipaddress.ip_address("10.9.0.2"), "b.example", True)
    assert (ike.age, ike.rekey_in) == (9, None)
    (child,) = ike.children
    assert (child.spi_in, child.spi_out, child.esn) == (0xC0FFEE01, 2, True)
    assert (child.bytes_in, child.packets_out, child.age, child.rekey_in, child.life_in) == (
        10,
        2,
        7,
        3300,
        3900,
    )
    assert (child.local_ts, child.integrity) == (("10.9.0.1/32",), "")


@pytest.mark.parametrize(
    ("tasks", "asking"),
    [
        ({}, False),
        ({"tasks-active": ["CHILD_DELETE"], "tasks-passive": ["CHILD_CREATE"]}, False),
        ({"tasks-active": ["CHILD_CREATE"]}, True),
        ({"tasks-active": ["CHILD_REKEY"], "tasks-queued": ["CHILD_CREATE", "IKE_DPD"]}, True),
        ({"tasks-queued": ["QUICK_MODE"]}, True),
    ],
)
def test_whether_the_peer_is_asked(tasks: dict[str, Any], asking: bool) -> None:
    (ike,) = ike_sas(sent({NAME: IKE | tasks}))
    assert ike.asking is asking


def test_rekeyed_one_that_should_have_been() -> None:
    late = CHILD | {"rekey-time": -4, "state": "REKEYED"}
    (ike,) = ike_sas(sent({NAME: IKE | {"child-sas": {"default-3": late}}}))
    assert ike.children[0].rekey_in == -4


@pytest.mark.parametrize(
    "wrong",
    [
        {"uniqueid": "x"},
        {"uniqueid": ["1"]},
        {"remote-host": "nowhere"},
        {"remote-host": "%any"},
        {"child-sas": "x"},
        {"child-sas": {"c": CHILD | {"spi-in": "xyz"}}},
        {"child-sas": {"c": CHILD | {"local-ts": "x"}}},
        {"state": {"a": "b"}},
        {"tasks-active": "CHILD_CREATE"},
    ],
)
def test_other_forms(wrong: Any) -> None:
    with pytest.raises(MessageError):
        ike_sas(sent({NAME: IKE | wrong}))


def test_events() -> None:
    up = event("ike-updown", sent({"up": "yes", NAME: IKE | {"child-sas": {}}}))
    assert up is not None
    assert (up.kind, up.up, up.ike.unique_id, up.ike.children) == ("ike-updown", True, 1, ())  # type: ignore[union-attr]
    down = event("child-updown", sent({NAME: IKE}))
    assert down is not None
    assert not down.up
    assert event("ike-updown", sent({"up": "yes", "theirs": IKE})) is None
    rekeyed = event("ike-rekey", sent({NAME: {"old": IKE, "new": IKE | {"uniqueid": 2}}}))
    assert rekeyed is not None
    assert (rekeyed.old_ike, rekeyed.ike.unique_id) == (1, 2)  # type: ignore[union-attr]
    ends = {"local-host": "10.9.0.1", "local-port": "4500", "remote-host": "10.9.0.7", "remote-port": "9"}
    moved = event("ike-update", sent(ends | {NAME: IKE | {"child-sas": {}}}))
    assert moved is not None
    assert (moved.kind, moved.up, str(moved.ike.remote)) == ("ike-update", True, "10.9.0.7")  # type: ignore[union-attr]
    pair = {"old": CHILD, "new": CHILD | {"uniqueid": 4}}
    renewed = event("child-rekey", sent({NAME: IKE | {"child-sas": {"default": pair}}}))
    assert renewed is not None
    assert [child.unique_id for child in renewed.replaced] == [3]
    assert [child.unique_id for child in renewed.ike.children] == [4]  # type: ignore[union-attr]


def test_certificates() -> None:
    found = certificate(sent({"type": "X509", "flag": "NONE", "has_privkey": "yes", "data": b"\x30"}))
    assert found is not None
    assert (found.der, found.ca, found.own) == (b"\x30", False, True)
    assert certificate(sent({"type": "X509_CRL", "data": b"\x30"})) is None
    with pytest.raises(MessageError):
        certificate(sent({"type": "X509", "data": ["x"]}))


values = st.binary(max_size=8) | st.lists(st.binary(max_size=4), max_size=2)


@given(
    st.sampled_from(["ike-updown", "child-updown", "ike-rekey", "ike-update", "child-rekey"]),
    st.dictionaries(st.sampled_from(sorted(IKE)), values),
    st.dictionaries(st.sampled_from(sorted(CHILD)), values),
)
def test_whatever_it_says(kind: str, ike: Any, child: Any) -> None:
    """It is data, or an error of the form; nothing else."""
    inner = IKE | ike | {"child-sas": {"c": CHILD | child, "d": {"old": child, "new": child}}}
    with suppress(MessageError):
        ike_sas({NAME: inner})
    with suppress(MessageError):
        event(kind, {NAME: inner | {"old": inner, "new": inner}})
