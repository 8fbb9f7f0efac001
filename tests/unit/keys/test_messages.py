"""VICI's messages."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys.messages import MessageError, decode, encode, section, text, texts

names = st.text(max_size=40)
values = st.binary(max_size=300)
messages: Any = st.recursive(
    st.dictionaries(names, values | st.lists(values, max_size=4), max_size=4),
    lambda inner: st.dictionaries(names, values | st.lists(values, max_size=3) | inner, max_size=4),
    max_leaves=8,
)


@given(messages)
def test_what_is_written_is_read(message: Any) -> None:
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_what_is_cut_off_is_refused_or_less(message: Any, data: Any) -> None:
    """A cut between two whole elements of the outermost section cannot be seen; any other is."""
    whole = encode(message)
    cut = data.draw(st.integers(0, len(whole)))
    try:
        found = decode(whole[:cut])
    except MessageError:
        return
    assert all(found[name] == message[name] for name in found)


@given(st.binary(max_size=600))
def test_garbage(data: bytes) -> None:
    with suppress(MessageError):
        assert isinstance(decode(data), dict)


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"a": deep}
    with pytest.raises(MessageError, match="deeper"):
        decode(encode(deep))


@pytest.mark.parametrize(
    "message", [{"k" * 256: b""}, {"k": bytes(65536)}, {"k": [bytes(65536)]}, {"k": {"j": bytes(65536)}}]
)
def test_too_large(message: Any) -> None:
    with pytest.raises(MessageError) as raised:
        encode(message)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "data",
    [b"\x02", b"\x04\x00\x00", b"\x05\x00\x00", b"\x06", b"\x00", b"\x07", b"\x01\x01a", b"\x04\x01a\x03"],
)
def test_elements_out_of_place(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


def test_parts_of_other_forms() -> None:
    message = decode(encode({"value": "x", "list": ["y"], "section": {"z": 1}}))
    assert (text(message, "value"), texts(message, "list")) == ("x", ("y",))
    assert section(message, "section") == {"z": b"1"}
    assert (text(message, "no"), texts(message, "no"), section(message, "no")) == ("", (), {})
    for read, name in ((text, "list"), (text, "section"), (texts, "value"), (section, "list")):
        with pytest.raises(MessageError, match=name):
            read(message, name)  # type: ignore[operator]
    assert text({"a": b"\xff"}, "a") == "\ufffd"
