"""The voucher in a device's alias."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.engine.alias import Voucher, parse, voucher
from wsasec.profiles import Profile

PROFILE = Profile("p", uuid.UUID(int=1), 22273, 0x57000000, 0xFF000000)


def test_its_form_is_what_others_read() -> None:
    text = str(voucher(PROFILE, 12))
    assert text == "wsasec/1 reqid=22273 mark=0x57000000/0xff000000 nft=12"
    assert parse(text) == Voucher(22273, 0x57000000, 0xFF000000, 12)


@given(st.builds(Voucher, *(st.integers(0, 0xFFFFFFFF),) * 4))
def test_what_is_written_is_read(one: Voucher) -> None:
    assert parse(str(one)) == one
    assert len(str(one)) < 256


@pytest.mark.parametrize(
    "alias",
    [
        "",
        "uplink",
        "wsasec/2 reqid=1 mark=0x00000001/0x00000001 nft=1",
        "wsasec/1 reqid=01 mark=0x00000001/0x00000001 nft=1",
        "wsasec/1 reqid=1 mark=0x00000001/0x00000001 nft=1 ",
        "wsasec/1 reqid=1 mark=0x00000001/0x00000001 nft=",
        "wsasec/1 reqid=1 mark=0x0000000A/0x00000001 nft=1",
        "wsasec/1 reqid=1 mark=0x1/0x1 nft=1",
        "wsasec/1 reqid=1 mark=0x00000001/0x00000001 nft=1\n",
    ],
)
def test_anything_else_is_none(alias: str) -> None:
    assert parse(alias) is None
