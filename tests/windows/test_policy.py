"""Policies as they arrive in the filtering platform, and what it reports, by an independent declaration."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import uuid
from collections.abc import Iterator
from ctypes import (
    POINTER,
    Structure,
    Union,
    c_int32,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    c_wchar_p,
)
from typing import TYPE_CHECKING, Any

import pytest
from double import Function, Pair
from hypothesis import given, settings
from hypothesis import strategies as st

import wsasec
from wsasec import SecurityError, Winsock
from wsasec.policy import (
    WINDOWS_VISTA_DEFAULT,
    Authentication,
    Direction,
    Encryption,
    Exchange,
    Group,
    Impersonation,
    Integrity,
    MainModeFlags,
    MainModePolicy,
    MainModeProposal,
    Method,
    Protocol,
    QuickModeFlags,
    QuickModePolicy,
    QuickModeProposal,
    Roots,
    Session,
    Transform,
)

if TYPE_CHECKING:
    from double import Double


class Guid(Structure):
    _fields_ = [("bytes", c_uint8 * 16)]


class Blob(Structure):
    _fields_ = [("size", c_uint32), ("data", POINTER(c_uint8))]


class PresharedKey(Structure):
    _fields_ = [("key", Blob), ("flags", c_uint32)]


class RootList(Structure):
    """The union of both directions: a list of root certificates."""

    _fields_ = [("count", c_uint32), ("roots", c_void_p)]


class Certificate(Structure):
    """IKEEXT_CERTIFICATE_AUTHENTICATION1."""

    _fields_ = [
        ("inbound", c_int32),
        ("inbound_list", RootList),
        ("outbound", c_int32),
        ("outbound_list", RootList),
        ("flags", c_uint32),
        ("url", Blob),
    ]


class MethodUnion(Union):
    _fields_ = [
        ("psk", PresharedKey),
        ("certificate", Certificate),
        ("flags", c_uint32),
        ("room", c_uint64 * 8),
    ]


class MethodStructure(Structure):
    """IKEEXT_AUTHENTICATION_METHOD1."""

    _fields_ = [("method", c_int32), ("of", MethodUnion)]


class IkeProposal(Structure):
    """IKEEXT_PROPOSAL0."""

    _fields_ = [
        ("cipher", c_int32),
        ("key_length", c_uint32),
        ("rounds", c_uint32),
        ("integrity", c_int32),
        ("seconds", c_uint32),
        ("group", c_int32),
        ("limit", c_uint32),
    ]


class MainPolicy(Structure):
    """IKEEXT_POLICY1."""

    _fields_ = [
        ("soft_expiration", c_uint32),
        ("method_count", c_uint32),
        ("methods", POINTER(MethodStructure)),
        ("impersonation", c_int32),
        ("proposal_count", c_uint32),
        ("proposals", POINTER(IkeProposal)),
        ("flags", c_uint32),
        ("filters", c_uint32),
        ("retransmit", c_uint32),
    ]


class Algorithm(Structure):
    """IPSEC_AUTH_TRANSFORM0, and IPSEC_CIPHER_TRANSFORM0."""

    _fields_ = [("type", c_int32), ("config", c_uint8), ("module", c_void_p)]


class SaTransform(Structure):
    """IPSEC_SA_TRANSFORM0; of two algorithms authentication is first."""

    _fields_ = [("type", c_int32), ("algorithms", POINTER(Algorithm))]


class Lifetime(Structure):
    _fields_ = [("seconds", c_uint32), ("kilobytes", c_uint32), ("packets", c_uint32)]


class IpsecProposal(Structure):
    """IPSEC_PROPOSAL0."""

    _fields_ = [
        ("lifetime", Lifetime),
        ("transform_count", c_uint32),
        ("transforms", POINTER(SaTransform)),
        ("pfs", c_int32),
    ]


class Extended(Structure):
    """IKEEXT_EM_POLICY1."""

    _fields_ = [("count", c_uint32), ("methods", POINTER(MethodStructure)), ("impersonation", c_int32)]


class QuickPolicy(Structure):
    """IPSEC_TRANSPORT_POLICY1."""

    _fields_ = [
        ("proposal_count", c_uint32),
        ("proposals", POINTER(IpsecProposal)),
        ("flags", c_uint32),
        ("clear", c_uint32),
        ("idle", c_uint32),
        ("failover", c_uint32),
        ("extended", POINTER(Extended)),
    ]


class Context(Structure):
    """FWPM_PROVIDER_CONTEXT1."""

    _fields_ = [
        ("key", Guid),
        ("name", c_wchar_p),
        ("description", c_wchar_p),
        ("flags", c_uint32),
        ("provider", c_void_p),
        ("data", Blob),
        ("type", c_int32),
        ("policy", c_void_p),
        ("id", c_uint64),
    ]


class Information(Structure):
    """IPSEC_SA_AUTH_INFORMATION0, and that of ciphers."""

    _fields_ = [("algorithm", Algorithm), ("key", Blob)]


class Sa(Structure):
    """IPSEC_SA0; of two algorithms the cipher is first."""

    _fields_ = [("spi", c_uint32), ("type", c_int32), ("information", POINTER(Information))]


class Address(Union):
    _fields_ = [("v4", c_uint32), ("v6", c_uint8 * 16)]


class Traffic(Structure):
    """IPSEC_TRAFFIC1."""

    _fields_ = [
        ("version", c_int32),
        ("local", Address),
        ("remote", Address),
        ("type", c_int32),
        ("filter", c_uint64),
        ("remote_port", c_uint16),
        ("local_port", c_uint16),
        ("protocol", c_uint8),
        ("interface", c_uint64),
        ("profile", c_uint32),
    ]


class Bundle(Structure):
    """IPSEC_SA_BUNDLE1."""

    _fields_ = [
        ("flags", c_uint32),
        ("lifetime", Lifetime),
        ("idle", c_uint32),
        ("clear", c_uint32),
        ("ids", c_void_p),
        ("nap", c_uint32),
        ("quick_mode", c_uint32),
        ("count", c_uint32),
        ("sas", POINTER(Sa)),
        ("state", c_void_p),
        ("version", c_int32),
        ("private", c_uint32),
        ("main_mode", c_uint64),
        ("pfs", c_int32),
        ("lookup", Guid),
        ("filter", c_uint64),
    ]


class Details(Structure):
    """IPSEC_SA_DETAILS1."""

    _fields_ = [
        ("version", c_int32),
        ("direction", c_int32),
        ("traffic", Traffic),
        ("bundle", Bundle),
        ("ports", POINTER(c_uint16 * 2)),
        ("transport_filter", c_void_p),
        ("virtual", c_void_p),
    ]


class SaContext(Structure):
    """IPSEC_SA_CONTEXT1."""

    _fields_ = [("id", c_uint64), ("inbound", POINTER(Details)), ("outbound", POINTER(Details))]


class IkeTraffic(Structure):
    _fields_ = [("version", c_int32), ("local", Address), ("remote", Address), ("filter", c_uint64)]


class Credential(Structure):
    _fields_ = [("method", c_int32), ("impersonation", c_int32), ("of", c_void_p)]


class MainModeDetails(Structure):
    """IKEEXT_SA_DETAILS1."""

    _fields_ = [
        ("id", c_uint64),
        ("module", c_int32),
        ("version", c_int32),
        ("ports", POINTER(c_uint16 * 2)),
        ("traffic", IkeTraffic),
        ("proposal", IkeProposal),
        ("initiator", c_uint64),
        ("responder", c_uint64),
        ("credential_count", c_uint32),
        ("credentials", POINTER(Credential * 2)),
        ("policy", Guid),
        ("virtual", c_uint64),
        ("correlation", Blob),
    ]


KEY = uuid.UUID("0b8d4d3c-6a53-4b57-9b7e-3a54a2a4a001")

# By the numbers of ipsectypes.h and iketypes.h, which nothing else here has.
CIPHERS = {"DES": (1, 1), "TRIPLE_DES": (2, 2), "AES_128": (3, 3), "AES_192": (4, 4), "AES_256": (5, 5)}
GCM = {"AES_GCM_128": (3, 6), "AES_GCM_192": (4, 7), "AES_GCM_256": (5, 8)}
WITHIN_GCM = {"AES_GCM_128": (3, 3), "AES_GCM_192": (4, 4), "AES_GCM_256": (5, 5)}
AUTHS = {"MD5": (0, 0), "SHA1": (1, 1), "SHA256": (2, 2)}
GMAC = {"AES_GMAC_128": (3, 3), "AES_GMAC_192": (4, 4), "AES_GMAC_256": (5, 5)}
PFS = {"NONE": 0, "MODP_768": 1, "MODP_1024": 2, "MODP_2048": 3, "ECP_256": 4, "ECP_384": 5, "MAIN_MODE": 6}
PFS |= {"MODP_2048_256": 7}
IKE_CIPHERS = {"DES": 0, "TRIPLE_DES": 1, "AES_128": 2, "AES_192": 3, "AES_256": 4, "AES_GCM_128": 5}
IKE_CIPHERS |= {"AES_GCM_256": 6}
IKE_INTEGRITIES = {"MD5": 0, "SHA1": 1, "SHA256": 2, "SHA384": 3}
IKE_GROUPS = {"MODP_768": 1, "MODP_1024": 2, "MODP_2048": 3, "ECP_256": 4, "ECP_384": 5, "MODP_2048_256": 6}

U32 = st.integers(0, 2**32 - 1)
POSITIVE = st.integers(1, 2**32 - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=100)


def esp(encryption: str, integrity: str) -> Transform:
    return Transform(Encryption[encryption], Integrity[integrity])


TRANSFORMS = st.one_of(
    st.builds(esp, st.sampled_from(sorted(CIPHERS)), st.sampled_from(sorted(AUTHS))),
    st.builds(esp, st.sampled_from(sorted(GCM)), st.just("NONE")),
    st.builds(
        Transform,
        st.just(Encryption.NONE),
        st.sampled_from([Integrity[name] for name in (AUTHS | GMAC)]),
        st.sampled_from(Protocol),
    ),
)


@st.composite
def quick_proposals(draw: st.DrawFn) -> QuickModeProposal:
    first = draw(TRANSFORMS)
    return QuickModeProposal(
        first.encryption,
        first.integrity,
        first.protocol,
        lifetime_seconds=draw(POSITIVE),
        lifetime_bytes=draw(POSITIVE) * 1024,
        lifetime_packets=draw(POSITIVE),
        pfs=draw(st.sampled_from(Group)),
        further=tuple(draw(st.lists(TRANSFORMS, max_size=3))),
    )


MAIN_PROPOSALS = st.builds(
    MainModeProposal,
    st.sampled_from([Encryption[name] for name in IKE_CIPHERS]),
    st.sampled_from([Integrity[name] for name in IKE_INTEGRITIES]),
    st.sampled_from([Group[name] for name in IKE_GROUPS]),
    POSITIVE,
    U32,
)
ROOTED = [Method.CERTIFICATE, Method.SSL, Method.CERTIFICATE_ECDSA_P256, Method.SSL_ECDSA_P384]
AUTHENTICATIONS = st.one_of(
    st.builds(Authentication, st.sampled_from([Method.KERBEROS, Method.NTLM_V2, Method.EAP]), U32),
    st.builds(Authentication, st.just(Method.ANONYMOUS)),
    st.builds(Authentication, st.sampled_from(ROOTED), U32, st.sampled_from(Roots), st.sampled_from(Roots)),
    st.builds(Authentication, st.just(Method.PRESHARED_KEY), U32, secret=st.binary(min_size=1, max_size=64)),
)
QUICK_POLICIES = st.builds(
    QuickModePolicy,
    NAMES,
    st.lists(quick_proposals(), min_size=1, max_size=5).map(tuple),
    flags=U32,
    clear_seconds=U32,
    idle_seconds=U32,
    idle_failover_seconds=U32,
    extended=st.lists(AUTHENTICATIONS, max_size=3).map(tuple),
    impersonation=st.sampled_from(Impersonation),
)
MAIN_POLICIES = st.builds(
    MainModePolicy,
    NAMES,
    st.lists(MAIN_PROPOSALS, min_size=1, max_size=5).map(tuple),
    st.lists(AUTHENTICATIONS, min_size=1, max_size=5).map(tuple),
    exchange=st.sampled_from(Exchange),
    flags=U32,
    impersonation=st.sampled_from(Impersonation),
    dynamic_filters=U32,
    retransmit_seconds=U32,
)


class Engine:
    """A second session, past the library under test."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.handle = c_void_p()
        assert library.FwpmEngineOpen0(None, 10, None, None, ctypes.byref(self.handle)) == 0

    @contextlib.contextmanager
    def context(self, key: uuid.UUID) -> Iterator[Any]:
        """A context as it arrived."""
        found = POINTER(Context)()
        assert self.library.FwpmProviderContextGetByKey1(self.handle, key.bytes_le, ctypes.byref(found)) == 0
        yield found.contents
        self.library.FwpmFreeMemory0(ctypes.byref(found))

    def add(self, context: Context) -> None:
        assert self.library.FwpmProviderContextAdd1(self.handle, ctypes.byref(context), None, None) == 0


@pytest.fixture
def engine(double: Double) -> Iterator[Engine]:
    opened = Engine(double.library)
    yield opened
    assert double.library.FwpmEngineClose0(opened.handle) == 0


@pytest.fixture
def session(double: Double, engine: Engine) -> Iterator[Session]:
    with Session() as opened:
        yield opened
        # All is given back: what is left are two sessions.
        assert (double.platform.sessions, double.platform.enumerations, double.platform.answers) == (2, 0, 0)


def check_methods(methods: Any, count: int, wanted: tuple[Authentication, ...]) -> None:
    assert count == len(wanted)
    for i, authentication in enumerate(wanted):
        one = methods[i]
        assert one.method == authentication.method
        if authentication.method == Method.PRESHARED_KEY:
            assert bytes(one.of.psk.key.data[: one.of.psk.key.size]) == authentication.secret
            assert one.of.psk.flags == authentication.flags
        elif authentication.method in ROOTED:
            found = one.of.certificate
            assert (found.inbound, found.outbound) == (
                authentication.inbound_roots,
                authentication.outbound_roots,
            )
            assert found.flags == authentication.flags
            assert not found.inbound_list.count
            assert not found.outbound_list.count
        else:
            assert one.of.flags == authentication.flags


def check_transform(found: Any, wanted: Transform) -> None:
    encryption, integrity = wanted.encryption.name, wanted.integrity.name  # type: ignore[union-attr]
    pairs = []
    if integrity != "NONE":
        pairs.append((AUTHS | GMAC)[integrity])
    if encryption in GCM:
        pairs += [WITHIN_GCM[encryption], GCM[encryption]]
    elif encryption != "NONE":
        pairs.append(CIPHERS[encryption])
    assert [(found.algorithms[i].type, found.algorithms[i].config) for i in range(len(pairs))] == pairs
    assert not any(found.algorithms[i].module for i in range(len(pairs)))
    alone = {Protocol.AH: 1, Protocol.ESP: 2, Protocol.ESP_FIRST_PACKET: 5}
    assert found.type == (4 if len(pairs) == 2 else alone[wanted.protocol])  # type: ignore[index]


def without_secrets(policy: Any, guid: uuid.UUID) -> dict[str, Any]:
    """What is to be reported of a policy."""
    values = {name: getattr(policy, name) for name in policy.__dataclass_fields__}
    for key in ("authentication", "extended"):
        values[key] = [(a.method, a.flags, a.inbound_roots, a.outbound_roots) for a in values.get(key, ())]
    return values | {"guid": guid}


FUZZ = settings(max_examples=200)  # the rest is as the profile has it


def check_context_quick_modes(context: Any, key: uuid.UUID, policy: QuickModePolicy) -> None:
    assert bytes(context.key.bytes) == key.bytes_le
    assert (context.name, context.description, context.flags) == (policy.name, None, 0)
    assert not context.provider
    assert context.type == 3
    found = ctypes.cast(context.policy, POINTER(QuickPolicy)).contents
    assert (found.flags, found.clear) == (policy.flags, policy.clear_seconds)
    assert (found.idle, found.failover) == (policy.idle_seconds, policy.idle_failover_seconds)
    assert bool(found.extended) == bool(policy.extended)
    if found.extended:
        check_methods(found.extended.contents.methods, found.extended.contents.count, policy.extended)
        assert found.extended.contents.impersonation == policy.impersonation
    assert found.proposal_count == len(policy.proposals)
    for i, proposal in enumerate(policy.proposals):
        one = found.proposals[i]
        assert one.lifetime.seconds == proposal.lifetime_seconds
        assert one.lifetime.kilobytes * 1024 == proposal.lifetime_bytes
        assert one.lifetime.packets == proposal.lifetime_packets
        assert one.pfs == PFS[proposal.pfs.name]  # type: ignore[union-attr]
        assert one.transform_count == 1 + len(proposal.further)
        for j, transform in enumerate((proposal, *proposal.further)):
            check_transform(one.transforms[j], transform)


@FUZZ
@given(policy=QUICK_POLICIES)
def test_quick_modes(session: Session, engine: Engine, policy: QuickModePolicy) -> None:
    key = session.add(policy)
    with engine.context(key) as context:
        check_context_quick_modes(context, key, policy)
    listed = without_secrets(session.list()[-1], key)
    wanted = without_secrets(policy, key)
    if not policy.extended:
        wanted["impersonation"] = Impersonation.NONE  # there is no mode that it would be of
    assert listed == wanted
    session.delete(key)


def check_context_main_modes(context: Any, key: uuid.UUID, policy: MainModePolicy) -> None:
    assert bytes(context.key.bytes) == key.bytes_le
    assert (context.name, context.flags) == (policy.name, 0)
    assert context.type == {Exchange.IKE: 5, Exchange.AUTHIP: 6, Exchange.IKEV2: 10}[policy.exchange]
    found = ctypes.cast(context.policy, POINTER(MainPolicy)).contents
    assert (found.soft_expiration, found.impersonation) == (0, policy.impersonation)
    assert (found.flags, found.filters) == (policy.flags, policy.dynamic_filters)
    assert found.retransmit == policy.retransmit_seconds
    check_methods(found.methods, found.method_count, policy.authentication)
    assert found.proposal_count == len(policy.proposals)
    for i, proposal in enumerate(policy.proposals):
        one = found.proposals[i]
        assert one.cipher == IKE_CIPHERS[proposal.encryption.name]  # type: ignore[union-attr]
        assert (one.key_length, one.rounds) == (0, 0)
        assert one.integrity == IKE_INTEGRITIES[proposal.integrity.name]  # type: ignore[union-attr]
        assert one.group == IKE_GROUPS[proposal.group.name]  # type: ignore[union-attr]
        assert (one.seconds, one.limit) == (proposal.lifetime_seconds, proposal.quick_mode_limit)


@FUZZ
@given(policy=MAIN_POLICIES)
def test_main_modes(session: Session, engine: Engine, policy: MainModePolicy) -> None:
    key = session.add(policy)
    with engine.context(key) as context:
        check_context_main_modes(context, key, policy)
    assert without_secrets(session.list()[-1], key) == without_secrets(policy, key)
    session.delete(key)


def test_windows_vista_default(session: Session) -> None:
    main = session.add(WINDOWS_VISTA_DEFAULT.main_mode)
    quick = session.add(WINDOWS_VISTA_DEFAULT.quick_mode)
    assert {policy.guid for policy in session.list()} == {main, quick}
    wsasec.IpsecSettings(qm_policy=quick, mm_policy=main)
    session.delete(main)
    assert [policy.guid for policy in session.list()] == [quick]


def test_what_is_unknown_keeps_its_number(session: Session, engine: Engine) -> None:
    algorithms = (Algorithm * 2)((9, 77, None), (3, 99, None))
    transform = SaTransform(4, algorithms)
    proposal = IpsecProposal(Lifetime(1, 2, 3), 1, ctypes.pointer(transform), 42)
    quick = QuickPolicy(1, ctypes.pointer(proposal), 0x80000000, 0, 0, 0, None)
    context = Context(name="unknown", type=3, policy=ctypes.addressof(quick))
    context.key.bytes[:] = KEY.bytes_le
    engine.add(context)
    (policy,) = session.list()
    assert isinstance(policy, QuickModePolicy)
    assert (policy.guid, policy.flags) == (KEY, 0x80000000)
    (found,) = policy.proposals
    assert (found.integrity, found.encryption) == (0x10000 + 9 * 256 + 77, 0x10000 + 3 * 256 + 99)
    assert (found.pfs, found.protocol) == (0x10000 + 42, Protocol.ESP)
    # It is taken back as it was.
    session.delete(KEY)
    session.add(policy)
    with engine.context(KEY) as again:
        one = ctypes.cast(again.policy, POINTER(QuickPolicy)).contents.proposals[0]
        pairs = [
            (one.transforms[0].algorithms[i].type, one.transforms[0].algorithms[i].config) for i in (0, 1)
        ]
        assert pairs == [(9, 77), (3, 99)]
        assert one.pfs == 42


def test_many_pages(session: Session) -> None:
    proposal = QuickModeProposal(Encryption.AES_GCM_256)
    keys = [session.add(QuickModePolicy(f"policy {i}", (proposal,))) for i in range(200)]
    assert [policy.guid for policy in session.list()] == keys
    for key in keys[64:]:
        session.delete(key)
    assert [policy.guid for policy in session.list()] == keys[:64]


def test_a_session_that_is_not_dynamic(double: Double) -> None:
    policy = QuickModePolicy("kept", (QuickModeProposal(Encryption.AES_GCM_256),), guid=KEY, persistent=True)
    with Session() as session, pytest.raises(ValueError, match="persistent"):
        session.add(policy)
    with Session(dynamic=False) as session:
        assert session.add(policy) == KEY
    with Session() as session:
        assert session.list() == [policy]
        session.delete(KEY)


def test_what_is_dynamic_ends_with_its_session(double: Double) -> None:
    policy = QuickModePolicy("gone", (QuickModeProposal(Encryption.AES_GCM_256),))
    with Session() as first, Session() as second:
        second.add(policy)
        assert len(first.list()) == 1
        second.close()
        assert first.list() == []
        with pytest.raises(ValueError, match="closed"):
            second.list()


CODES = {
    5: (Winsock.WSAEACCES, "administrator"),
    1722: (Winsock.WSAENETDOWN, "BFE"),
    1753: (Winsock.WSAENETDOWN, "BFE"),
    1062: (Winsock.WSAENETDOWN, "BFE"),
    8: (Winsock.WSAENOBUFS, "memory"),
    0x80320008: (Winsock.WSAEINVAL, "no such policy"),
    0x80320009: (Winsock.WSAEINVAL, "already"),
    0x8032000A: (Winsock.WSAEINVAL, "in use"),
    0x8032000C: (Winsock.WSAEINVAL, "session"),
    0x80320010: (Winsock.WSAENETDOWN, "BFE"),
    0x80320012: (Winsock.WSAETIMEDOUT, "later"),
    0x80320038: (Winsock.WSAEINVAL, "FWP_E_"),
}


@pytest.mark.parametrize("code", CODES, ids=hex)
def test_errors(session: Session, double: Double, code: int) -> None:
    policy = QuickModePolicy("some", (QuickModeProposal(Encryption.AES_GCM_256),))
    calls = {
        Function.FwpmEngineOpen0: Session,
        Function.FwpmProviderContextAdd1: lambda: session.add(policy),
        Function.FwpmProviderContextDeleteByKey0: lambda: session.delete(KEY),
        Function.FwpmProviderContextCreateEnumHandle0: session.list,
        Function.FwpmProviderContextEnum1: session.list,
        Function.IPsecSaContextCreateEnumHandle0: session.security_associations,
        Function.IPsecSaContextEnum1: session.security_associations,
        Function.IkeextSaGetById1: lambda: session.ike_association(1),
    }
    for function, call in calls.items():
        double.fail(function, code)
        with pytest.raises(SecurityError) as caught:
            call()
        double.fail(function, 0)
        assert caught.value.winsock is CODES[code][0]
        assert caught.value.winerror == code  # type: ignore[attr-defined]
        assert CODES[code][1] in str(caught.value)


def test_refusals(session: Session) -> None:
    policy = QuickModePolicy("twice", (QuickModeProposal(Encryption.AES_GCM_256),), guid=KEY)
    session.add(policy)
    with pytest.raises(SecurityError, match="GUID already") as caught:
        session.add(policy)
    assert caught.value.step == "add policy"
    session.delete(KEY)
    with pytest.raises(SecurityError, match="no such policy"):
        session.delete(KEY)


def details(direction: int, sas: Any, *, version: int, ports: Any = None) -> Details:
    found = Details(version=version, direction=direction, ports=ports)
    found.traffic = Traffic(version=version, type=0, filter=77, remote_port=443, local_port=5000, protocol=6)
    if version == 0:
        found.traffic.local.v4, found.traffic.remote.v4 = 0x0A000001, 0x0A000002
    else:
        found.traffic.local.v6[:] = ipaddress.ip_address("fd00::1").packed
        found.traffic.remote.v6[:] = ipaddress.ip_address("fd00::2").packed
    found.bundle = Bundle(flags=8, lifetime=Lifetime(3600, 100, 7), idle=300, quick_mode=5, count=len(sas))
    found.bundle.sas = sas
    found.bundle.main_mode = 2**40 + 1
    found.bundle.pfs = 4
    found.bundle.lookup.bytes[:] = KEY.bytes_le
    return found


def test_security_associations(session: Session, double: Double) -> None:
    both = (Information * 2)((Algorithm(3, 6), Blob()), (Algorithm(3, 3), Blob()))
    one = (Information * 1)((Algorithm(1, 1), Blob()))
    ports = (c_uint16 * 2)(4500, 4501)
    inbound = details(
        1, (Sa * 2)((0x1001, 4, both), (0x1002, 1, one)), version=0, ports=ctypes.pointer(ports)
    )
    outbound = details(0, (Sa * 1)((0xFFFFFFFF, 4, both)), version=0)
    other = details(1, (Sa * 1)((7, 2, one)), version=1)
    contexts = (POINTER(SaContext) * 2)(
        ctypes.pointer(SaContext(11, ctypes.pointer(inbound), ctypes.pointer(outbound))),
        ctypes.pointer(SaContext(12, ctypes.pointer(other), None)),
    )
    double.library.WsasecDoubleAssociations(contexts, 2)
    found = session.security_associations()
    assert [(one.context_id, one.direction, one.spi) for one in found] == [
        (11, Direction.INBOUND, 0x1001),
        (11, Direction.INBOUND, 0x1002),
        (11, Direction.OUTBOUND, 0xFFFFFFFF),
        (12, Direction.INBOUND, 7),
    ]
    first = found[0]
    assert first.transform == Transform(Encryption.AES_GCM_128)
    assert found[1].transform == Transform(Encryption.NONE, Integrity.SHA1, Protocol.AH)
    assert found[3].transform == Transform(Encryption.NONE, Integrity.SHA1)
    assert (first.local, first.remote) == (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2"))
    assert (first.local_port, first.remote_port, first.ip_protocol) == (5000, 443, 6)
    assert (first.udp_ports, found[2].udp_ports) == ((4500, 4501), None)
    assert (first.lifetime_seconds, first.lifetime_bytes, first.lifetime_packets) == (3600, 102400, 7)
    assert (first.idle_seconds, first.flags, first.pfs, first.tunnel) == (300, 8, Group.ECP_256, False)
    assert (first.main_mode_id, first.quick_mode_id, first.filter_id) == (2**40 + 1, 5, 77)
    assert first.lookup == KEY
    assert (found[3].local, found[3].remote) == (
        ipaddress.ip_address("fd00::1"),
        ipaddress.ip_address("fd00::2"),
    )


def test_many_pages_of_associations(session: Session, double: Double) -> None:
    one = (Information * 1)((Algorithm(1, 1), Blob()))
    inbound = details(1, (Sa * 1)((1, 2, one)), version=0)
    context = SaContext(1, ctypes.pointer(inbound), None)
    for count in (0, 1, 63, 64, 65, 128, 200):
        contexts = (POINTER(SaContext) * max(count, 1))(*[ctypes.pointer(context)] * count)
        double.library.WsasecDoubleAssociations(contexts, count)
        assert len(session.security_associations()) == count


@pytest.mark.parametrize(
    ("local", "remote", "found"),
    [
        (None, None, [1, 2, 3]),
        ("10.0.0.1", None, [1, 2]),
        ("10.0.0.0/31", None, [1, 2]),
        (None, "10.1.0.0/16", [2]),
        ("10.0.0.1", "10.0.0.9", []),
        (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("0.0.0.0/0"), [1, 2]),
        ("fd00::/8", None, [3]),
        ("fd00::1", "fd00::2", [3]),
        ("fd00::1", "fd00::3", []),
    ],
)
def test_whose_associations(
    session: Session, double: Double, local: Any, remote: Any, found: list[int]
) -> None:
    addresses = [("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.1.0.2"), ("fd00::1", "fd00::2")]
    for number, ends in enumerate(addresses, 1):
        pair = Pair(id=number, version=ends[0].startswith("fd"), transform=2, auth_type=1, auth_config=1)
        for name, end in zip(("local", "remote"), ends, strict=True):
            packed = ipaddress.ip_address(end).packed
            getattr(pair, name)[: len(packed)] = packed
        double.add(pair)
    told = session.security_associations(local=local, remote=remote)
    assert sorted({association.context_id for association in told}) == found


def test_versions_are_not_mixed(session: Session) -> None:
    with pytest.raises(ValueError, match="different versions"):
        session.security_associations(local="10.0.0.1", remote="fd00::1")
    with pytest.raises(ValueError, match="local"):
        session.security_associations(local="10.0.0.1/8")


def test_main_mode_of_an_association(session: Session, double: Double) -> None:
    credentials = (Credential * 2)(Credential(2, 0, None), Credential(99, 1, None))
    found = MainModeDetails(
        id=2**40 + 1, module=1, version=0, initiator=1, responder=2**63, credential_count=1
    )
    found.credentials = ctypes.pointer(credentials)
    found.traffic = IkeTraffic(version=0)
    found.traffic.local.v4, found.traffic.remote.v4 = 0x0A000001, 0x0A000002
    found.proposal = IkeProposal(4, 0, 0, 3, 28800, 5, 9)
    found.policy.bytes[:] = KEY.bytes_le
    double.library.WsasecDoubleMainMode(ctypes.byref(found))
    answer = session.ike_association(2**40 + 1, KEY)
    (call,) = double.calls_of(Function.IkeextSaGetById1)
    assert (call.value, call.data) == (2**40 + 1, KEY.bytes_le)
    assert (answer.exchange, answer.policy) == (Exchange.AUTHIP, KEY)
    assert answer.proposal == MainModeProposal(Encryption.AES_256, Integrity.SHA384, Group.ECP_384, 28800, 9)
    assert (answer.initiator_cookie, answer.responder_cookie) == (1, 2**63)
    assert answer.credentials == ((Method.KERBEROS, Impersonation.NONE, 99, Impersonation.SOCKET_PRINCIPAL),)
    assert (answer.local, answer.udp_ports) == (ipaddress.ip_address("10.0.0.1"), None)
    with pytest.raises(SecurityError, match="no such policy, or association"):
        session.ike_association(1)
    count = double.count
    for wrong in KEY.bytes_le, str(KEY), "", 0:
        with pytest.raises(TypeError, match=r"lookup is a uuid\.UUID or None"):
            session.ike_association(1, wrong)  # type: ignore[arg-type]
    assert double.count == count


def test_flags_have_names(session: Session) -> None:
    session.add(WINDOWS_VISTA_DEFAULT.quick_mode)
    session.add(WINDOWS_VISTA_DEFAULT.main_mode)
    quick, main = session.list()
    assert quick.flags is QuickModeFlags.ND_BOUNDARY
    assert main.flags is MainModeFlags.NONE
