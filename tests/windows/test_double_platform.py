"""The double's filtering platform: contexts are kept as they were given, and associations are told."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from double import Double, Function, MainMode, Pair, Platform

FWP_E_PROVIDER_CONTEXT_NOT_FOUND = 0x80320006
FWP_E_NOT_FOUND = 0x80320008
FWP_E_ALREADY_EXISTS = 0x80320009
FWP_E_WRONG_SESSION = 0x8032000C
FWP_E_NULL_POINTER = 0x8032001C
FWP_E_ZERO_LENGTH_ARRAY = 0x80320022
FWP_E_NULL_DISPLAY_NAME = 0x80320023
FWP_E_TYPE_MISMATCH = 0x80320027
ERROR_INVALID_HANDLE = 6
ERROR_ACCESS_DENIED = 5
RPC_C_AUTHN_WINNT = 10
AUTHIP_QM_TRANSPORT = 3
AUTHIP_MM = 6
GENERAL = 8
PRESHARED_KEY = 0
ESP_AUTH_AND_CIPHER = 4
V4_ADDR_MASK = 0x100
SESSION_DYNAMIC = 1
KEY = bytes(range(1, 17))
U32 = ctypes.c_uint32
POINTER = ctypes.c_void_p


class Blob(ctypes.Structure):
    _fields_ = [("size", U32), ("data", ctypes.c_char_p)]


class Session(ctypes.Structure):
    _fields_ = [
        ("key", ctypes.c_ubyte * 16),
        ("name", ctypes.c_wchar_p),
        ("description", ctypes.c_wchar_p),
        ("flags", U32),
        ("wait", U32),
        ("process", U32),
        ("sid", POINTER),
        ("user", POINTER),
        ("kernel_mode", ctypes.c_int),
    ]


class Context(ctypes.Structure):
    _fields_ = [
        ("key", ctypes.c_ubyte * 16),
        ("name", ctypes.c_wchar_p),
        ("description", ctypes.c_wchar_p),
        ("flags", U32),
        ("provider", POINTER),
        ("data", Blob),
        ("type", U32),
        ("policy", POINTER),
        ("id", ctypes.c_uint64),
    ]


class Transform(ctypes.Structure):
    _fields_ = [("type", U32), ("what", POINTER)]


class AuthAndCipher(ctypes.Structure):
    _fields_ = [
        ("auth", U32),
        ("auth_config", ctypes.c_uint8),
        ("auth_module", POINTER),
        ("cipher", U32),
        ("cipher_config", ctypes.c_uint8),
        ("cipher_module", POINTER),
    ]


class Proposal(ctypes.Structure):
    _fields_ = [
        ("lifetime", U32 * 3),
        ("count", U32),
        ("transforms", ctypes.POINTER(Transform)),
        ("pfs", U32),
    ]


class Quick(ctypes.Structure):
    _fields_ = [
        ("count", U32),
        ("proposals", ctypes.POINTER(Proposal)),
        ("flags", U32),
        ("clear", U32),
        ("idle", U32 * 2),
        ("extended", POINTER),
    ]


class Method(ctypes.Structure):  # the longest of its union is 72 bytes
    _fields_ = [("type", U32), ("secret", Blob), ("rest", ctypes.c_ubyte * 56)]


class Main(ctypes.Structure):
    _fields_ = [
        ("soft", U32),
        ("method_count", U32),
        ("methods", ctypes.POINTER(Method)),
        ("impersonation", U32),
        ("count", U32),
        ("proposals", ctypes.POINTER(U32 * 7)),
        ("flags", U32),
        ("filters", U32),
        ("retransmit", U32),
    ]


class Subnets(ctypes.Structure):
    _fields_ = [
        ("local_type", U32),
        ("local", POINTER),
        ("remote_type", U32),
        ("remote", POINTER),
    ]


class Engine:
    """A session, and the functions that take one."""

    def __init__(self, library: Any, flags: int = SESSION_DYNAMIC) -> None:
        self.library = library
        self.handle = POINTER()
        session = Session(flags=flags)
        assert self.error("FwpmEngineOpen0", None, RPC_C_AUTHN_WINNT, None, session, self.handle) == 0

    def error(self, name: str, *arguments: Any) -> int:
        function = getattr(self.library, name)
        function.restype = U32
        return int(
            function(
                *(
                    ctypes.byref(one) if isinstance(one, ctypes.Structure | POINTER) else one
                    for one in arguments
                )
            )
        )

    def __call__(self, name: str, *arguments: Any) -> int:
        function = getattr(self.library, name)
        function.restype = U32
        return int(function(self.handle, *arguments))

    def add(self, context: Context) -> int:
        return self("FwpmProviderContextAdd1", ctypes.byref(context), None, None)

    def get(self, key: bytes) -> tuple[int, Any]:
        found = ctypes.POINTER(Context)()
        return self("FwpmProviderContextGetByKey1", key, ctypes.byref(found)), found

    def free(self, pointer: Any) -> None:
        self.library.FwpmFreeMemory0(ctypes.byref(pointer))
        assert not pointer


@pytest.fixture
def engine(double: Double) -> Iterator[Engine]:
    return Engine(double.library)


def quick(key: bytes = KEY) -> Context:
    both = AuthAndCipher(auth=2, auth_config=3, cipher=3, cipher_config=5)
    transforms = (Transform * 1)(Transform(ESP_AUTH_AND_CIPHER, ctypes.addressof(both)))
    proposals = (Proposal * 2)(*(Proposal((60, 70, 80), 1, transforms, pfs) for pfs in (4, 5)))
    policy = Quick(2, proposals, 9, 10, (300, 60), None)
    context = Context(name="a name", type=AUTHIP_QM_TRANSPORT, policy=ctypes.addressof(policy))
    context.key[:] = key
    context.data = Blob(3, b"abc")
    context.kept = both, transforms, proposals, policy
    return context


def main(key: bytes = KEY) -> Context:
    methods = (Method * 1)(Method(PRESHARED_KEY, Blob(6, b"secret")))
    proposals = (U32 * 7 * 1)((U32 * 7)(2, 16, 0, 2, 7200, 4, 0))
    policy = Main(0, 1, methods, 0, 1, proposals, 0, 0)
    context = Context(name="a name", type=AUTHIP_MM, policy=ctypes.addressof(policy))
    context.key[:] = key
    context.kept = methods, proposals, policy
    return context


def test_a_context_is_kept_as_it_was_given(double: Double, engine: Engine) -> None:
    given = quick()
    assert engine.add(given) == 0
    ctypes.memset(given.policy, 0xFF, ctypes.sizeof(Quick))  # it is copied
    error, found = engine.get(KEY)
    assert error == 0
    context = found.contents
    assert (context.name, context.description, context.type) == ("a name", None, AUTHIP_QM_TRANSPORT)
    assert (context.data.size, context.data.data[:3], context.id) == (3, b"abc", 1)
    policy = ctypes.cast(context.policy, ctypes.POINTER(Quick)).contents
    assert (policy.count, policy.flags, policy.clear, list(policy.idle)) == (2, 9, 10, [300, 60])
    assert [(list(policy.proposals[i].lifetime), policy.proposals[i].pfs) for i in (0, 1)] == [
        ([60, 70, 80], 4),
        ([60, 70, 80], 5),
    ]
    transform = policy.proposals[1].transforms[0]
    assert transform.type == ESP_AUTH_AND_CIPHER
    both = ctypes.cast(transform.what, ctypes.POINTER(AuthAndCipher)).contents
    assert (both.auth, both.auth_config, both.cipher, both.cipher_config) == (2, 3, 3, 5)
    assert double.platform == Platform(sessions=1, contexts=1, enumerations=0, answers=1)
    engine.free(found)
    assert double.platform.answers == 0


def test_main_modes_are_kept_with_their_secrets(engine: Engine) -> None:
    assert engine.add(main()) == 0
    error, found = engine.get(KEY)
    assert error == 0
    policy = ctypes.cast(found.contents.policy, ctypes.POINTER(Main)).contents
    assert ctypes.sizeof(Method) == 80
    assert policy.methods[0].secret.data[:6] == b"secret"
    assert list(policy.proposals[0]) == [2, 16, 0, 2, 7200, 4, 0]


def test_contexts_get_keys_and_go_with_their_session(double: Double, engine: Engine) -> None:
    for _ in range(2):
        assert engine.add(quick(bytes(16))) == 0
    lasting = Engine(double.library, 0)
    assert lasting.add(quick()) == 0
    handle = POINTER()
    assert engine("FwpmProviderContextCreateEnumHandle0", None, ctypes.byref(handle)) == 0
    keys = []
    for most, expected in ((2, 2), (2, 1), (2, 0)):
        entries, count = ctypes.POINTER(ctypes.POINTER(Context))(), U32()
        arguments = handle, most, ctypes.byref(entries), ctypes.byref(count)
        assert engine("FwpmProviderContextEnum1", *arguments) == 0
        assert count.value == expected
        keys += [bytes(entries[i].contents.key) for i in range(count.value)]
        engine.free(entries)
    assert engine("FwpmProviderContextDestroyEnumHandle0", handle) == 0
    assert keys[2] == KEY
    assert len({uuid.UUID(bytes_le=key) for key in keys} - {uuid.UUID(int=0)}) == 3
    assert lasting("FwpmProviderContextDeleteByKey0", keys[0]) == FWP_E_WRONG_SESSION
    assert engine("FwpmProviderContextDeleteByKey0", keys[0]) == 0
    assert engine("FwpmProviderContextDeleteByKey0", keys[0]) == FWP_E_PROVIDER_CONTEXT_NOT_FOUND
    assert double.platform == Platform(sessions=2, contexts=2, enumerations=0, answers=0)
    assert engine("FwpmEngineClose0") == 0
    assert lasting("FwpmEngineClose0") == 0
    assert double.platform == Platform(sessions=0, contexts=1, enumerations=0, answers=0)
    assert engine("FwpmEngineClose0") == ERROR_INVALID_HANDLE


def test_wrong_contexts_are_refused(double: Double, engine: Engine) -> None:
    assert engine.add(quick()) == 0
    assert engine.add(quick()) == FWP_E_ALREADY_EXISTS
    for wrong, error in (
        ({"name": None}, FWP_E_NULL_DISPLAY_NAME),
        ({"policy": None}, FWP_E_NULL_POINTER),
        ({"type": GENERAL}, FWP_E_TYPE_MISMATCH),
    ):
        context = quick(bytes(16))
        for name, value in wrong.items():
            setattr(context, name, value)
        assert engine.add(context) == error
    context = quick(bytes(16))
    ctypes.cast(context.policy, ctypes.POINTER(Quick)).contents.count = 0
    assert engine.add(context) == FWP_E_ZERO_LENGTH_ARRAY
    double.fail(Function.FwpmProviderContextAdd1, ERROR_ACCESS_DENIED, skip=1, times=1)
    assert [engine.add(quick(bytes(16))) for _ in range(3)] == [0, ERROR_ACCESS_DENIED, 0]
    assert double.calls_of(Function.FwpmProviderContextAdd1)[-2].error == ERROR_ACCESS_DENIED
    assert engine.get(bytes(16))[0] == FWP_E_PROVIDER_CONTEXT_NOT_FOUND


def test_associations_are_told_by_their_addresses(double: Double, engine: Engine) -> None:
    for number in (1, 2, 3):
        pair = Pair(
            id=number, main_mode=40 + number, transform=ESP_AUTH_AND_CIPHER, cipher_type=5, outbound_spi=6
        )
        pair.local[:4] = 10, 0, 0, 1
        pair.remote[:4] = 10, 0, number // 2, 2
        pair.target = "host/peer"
        double.add(pair)
    mask = (U32 * 2)(0x0A000100, 0xFFFFFF00)
    subnets = Subnets(0, None, V4_ADDR_MASK, ctypes.addressof(mask))
    handle, entries, count = POINTER(), ctypes.POINTER(ctypes.POINTER(ctypes.c_uint64))(), U32()
    created = engine("IPsecSaContextCreateEnumHandle0", ctypes.byref(subnets), ctypes.byref(handle))
    assert created == 0
    del mask  # it was copied
    told = engine("IPsecSaContextEnum1", handle, 10, ctypes.byref(entries), ctypes.byref(count))
    assert told == 0
    assert [entries[i].contents.value for i in range(count.value)] == [2, 3]
    engine.free(entries)
    assert double.platform.enumerations == 1
    assert engine("IPsecSaContextDestroyEnumHandle0", handle) == 0
    assert double.platform == Platform(sessions=1, contexts=0, enumerations=0, answers=0)


def test_main_modes_are_told_by_their_number(double: Double, engine: Engine) -> None:
    double.add(MainMode(id=41, initiator=5, responder=6, method=2, peer="host/peer"))
    found = ctypes.POINTER(ctypes.c_uint64)()
    get = "IkeextSaGetById1"
    assert engine(get, ctypes.c_uint64(42), None, ctypes.byref(found)) == FWP_E_NOT_FOUND
    assert engine(get, ctypes.c_uint64(41), None, ctypes.byref(found)) == 0
    assert found.contents.value == 41
    assert [call.value for call in double.calls_of(Function.IkeextSaGetById1)] == [42, 41]
