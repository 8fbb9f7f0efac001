"""Wrong arguments of SocketBatch and secure_many; sockets that are not secured need no privilege."""

from __future__ import annotations

import socket
import struct
import sys
import uuid
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wsasec
from wsasec import BatchError, IpsecSettings, SecurityError, Settings, SocketBatch, Winsock, _wsasec
from wsasec.addresses import pack_address
from wsasec.settings import SettingsBase

if sys.platform == "win32":
    from left_windows import descriptors
else:
    from left_linux import descriptors

INET, INET6 = socket.AF_INET, socket.AF_INET6
if sys.platform == "win32":
    OTHER_FAMILY = socket.AF_IRDA
    METHODS = ["plain", "threads", "auto"]
else:
    OTHER_FAMILY = socket.AF_UNIX
    METHODS = ["plain", "io_uring", "threads", "auto"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wsasec.SecurityWarning)
        yield


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"n": -1}, ValueError),
        ({"n": 2**31}, ValueError),
        ({"n": 2**70}, ValueError),
        ({"n": True}, TypeError),
        ({"n": 1.0}, TypeError),
        ({"n": "1"}, TypeError),
        ({"n": None}, TypeError),
        ({"family": 0}, SecurityError),
        ({"family": OTHER_FAMILY}, SecurityError),
        ({"family": -5}, ValueError),
        ({"family": 2**40}, ValueError),
        ({"family": None}, ValueError),
        ({"type": 99}, ValueError),
        ({"type": socket.SOCK_RAW}, SecurityError),
        ({"settings": b"12345678"}, TypeError),
        ({"settings": 5}, TypeError),
        ({"bind": 5}, TypeError),
        ({"bind": []}, ValueError),
        ({"bind": "localhost"}, ValueError),
        ({"bind": "::1"}, ValueError),
        ({"bind": b"127.0.0.1"}, TypeError),
        ({"bind": [None]}, TypeError),
        ({"bind": [()]}, ValueError),
        ({"bind": ("127.0.0.1", -1)}, ValueError),
        ({"bind": ("127.0.0.1", 65536)}, ValueError),
        ({"bind": [("127.0.0.1", "80")]}, TypeError),
        ({"bind": [("127.0.0.1", 1, 2, 3, 4)]}, ValueError),
        ({"bind": ["127.0.0.1", "::1"]}, ValueError),
        ({"bind": "::1%no-such-interface", "family": INET6}, OSError),
        ({"nodelay": True, "type": socket.SOCK_DGRAM}, SecurityError),
        ({"send_buffer": -1}, ValueError),
        ({"send_buffer": 2**31}, ValueError),
        ({"receive_buffer": "1"}, TypeError),
        ({"errors": "ignore"}, ValueError),
        ({"method": ""}, ValueError),
        ({"method": None}, ValueError),
        ({"method": []}, ValueError),
        ({"threads": -1}, ValueError),
        ({"threads": 65}, ValueError),
        ({"threads": 2.0}, TypeError),
        ({"threads": True}, TypeError),
    ],
    ids=repr,
)
def test_wrong_arguments(options: dict[str, object], error: type[Exception]) -> None:
    options = {"n": 2, "secure": False, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(error):
            SocketBatch(**options)


def test_arguments_are_by_name() -> None:
    with pytest.raises(TypeError):
        SocketBatch(2, INET)
    with pytest.raises(TypeError):
        SocketBatch()
    with pytest.raises(TypeError):
        SocketBatch(2, colour="red")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "fast"}, ValueError),
        ({"method": None}, ValueError),
        ({"threads": -1}, ValueError),
        ({"threads": 1 << 40}, ValueError),
        ({"threads": "2"}, TypeError),
        ({"errors": None}, ValueError),
    ],
    ids=repr,
)
def test_wrong_arguments_of_secure_many(options: dict[str, object], error: type[Exception]) -> None:
    with socket.socket() as sock:
        with pytest.raises(error):
            wsasec.secure_many([sock], **options)
        assert _wsasec.profile_of(sock) is None


def test_a_batch_is_made_once() -> None:
    with SocketBatch(2, secure=False) as batch:
        fds = list(batch)
        with pytest.raises(RuntimeError):
            batch.__init__(2, secure=False)  # type: ignore[misc]
        assert list(batch) == fds


def test_without_sockets_it_is_no_buffer() -> None:
    unmade = SocketBatch.__new__(SocketBatch)
    with pytest.raises(BufferError):
        memoryview(unmade)


def test_methods() -> None:
    assert list(_wsasec.METHODS) == ["auto", "plain", "io_uring", "threads", "overlapped"]
    assert _wsasec.method_failure("plain") is None
    assert _wsasec.method_failure("threads") is None
    with pytest.raises(ValueError, match="method is one of auto, plain, io_uring, threads"):
        _wsasec.method_failure("fast")
    assert set(wsasec.method_costs()) == {"secure", "create"}


def unknown_protocol() -> Settings:
    """What Python's own checks do not let pass, for those behind them."""
    settings = Settings()
    object.__setattr__(settings, "_packed", struct.pack("=II", 7, 0))
    return settings


WRONG_SETTINGS = [unknown_protocol()]
if sys.platform != "win32":  # Windows' policies are known to Windows only
    WRONG_SETTINGS.append(IpsecSettings(qm_policy=uuid.uuid4()))


@pytest.mark.parametrize("wrong", WRONG_SETTINGS, ids=["protocol", "policy"][: len(WRONG_SETTINGS)])
@pytest.mark.parametrize("method", METHODS)
def test_wrong_settings_are_told_before_a_socket_is_made(method: str, wrong: SettingsBase) -> None:
    if _wsasec.method_failure(method):
        pytest.skip(str(_wsasec.method_failure(method)))
    before = descriptors()
    with pytest.raises(SecurityError) as caught:
        SocketBatch(2, settings=wrong, method=method)
    assert not isinstance(caught.value, BatchError)
    assert (caught.value.winsock, caught.value.step) == (Winsock.WSAEINVAL, "settings")
    assert descriptors() == before


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 70_000),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(-5, 5), max_size=3),
)
HOSTS = st.one_of(
    st.sampled_from(["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "256.1.1.1", "::1%1", "%"]), JUNK
)
ADDRESSES = st.one_of(HOSTS, st.tuples(HOSTS, JUNK), st.tuples(HOSTS, JUNK, JUNK, JUNK))


@settings(max_examples=300)
@given(
    n=st.one_of(st.integers(0, 5), JUNK.filter(lambda n: not isinstance(n, int) or n < 50)),
    options=st.fixed_dictionaries(
        {},
        optional={
            "family": st.one_of(st.sampled_from([INET, INET6]), JUNK),
            "type": st.one_of(st.sampled_from([socket.SOCK_STREAM, socket.SOCK_DGRAM]), JUNK),
            "bind": st.one_of(ADDRESSES, st.lists(ADDRESSES, max_size=3)),
            "nodelay": st.booleans(),
            "send_buffer": JUNK,
            "receive_buffer": JUNK,
            "errors": st.one_of(st.sampled_from(["raise", "return"]), JUNK),
            "method": st.one_of(st.sampled_from(["plain", "threads", "auto"]), JUNK),
            "threads": JUNK,
            "progress": st.none(),
        },
    ),
)
def test_any_arguments(n: object, options: dict[str, object]) -> None:
    """Sockets, or one of the errors that are told; nothing is left in either case."""
    try:
        with SocketBatch(n, secure=False, **options) as batch:
            assert len(batch) == n
            assert [fd < 0 for fd in batch] == [code != 0 for code in batch.codes]
    except (TypeError, ValueError, OSError):
        pass


@settings(max_examples=200)
@given(address=st.one_of(ADDRESSES, JUNK), family=st.sampled_from([INET, INET6]))
def test_any_address(address: object, family: int) -> None:
    try:
        packed = pack_address(family, address)
    except (TypeError, ValueError, OSError):
        return
    assert len(packed) == (28 if family == INET6 else 16)
    kind = int.from_bytes(packed[:2], "little" if packed[0] else "big")
    assert kind == family
    assert int.from_bytes(packed[2:4], "big") == address[1]


def test_addresses() -> None:
    assert pack_address(INET, ("127.0.0.1", 80))[2:8] == b"\0\x50\x7f\0\0\1"
    assert pack_address(INET6, ("fe80::1%7", 80))[24:] == (7).to_bytes(4, sys.byteorder)
    assert pack_address(INET6, ("fe80::1", 80, 1, 9))[4:8] == (1).to_bytes(4, "big")
    assert (
        pack_address(INET6, (f"fe80::1%{socket.if_indextoname(1)}", 0))[24:]
        == pack_address(INET6, ("::", 0, 0, 1))[24:]
    )
