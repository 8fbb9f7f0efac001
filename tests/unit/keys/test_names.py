"""What a name is, and who goes by it."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import string

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wsasec.keys import dn, names
from wsasec.keys.names import Form, NameFormError, matches, parse

OIDS = {
    "C": x509.NameOID.COUNTRY_NAME,
    "O": x509.NameOID.ORGANIZATION_NAME,
    "OU": x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": x509.NameOID.COMMON_NAME,
    "DC": x509.NameOID.DOMAIN_COMPONENT,
}


@functools.cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def certificate(*sans: str, subject: tuple[tuple[str, str], ...] = (("CN", "x"),)) -> bytes:
    """A certificate with alternative names: "mail:...", "ip:...", all others of hosts."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    name = x509.Name([x509.NameAttribute(OIDS[kind], value) for kind, value in subject])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key().public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=3650))
    )
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general(san) for san in sans]), critical=False
        )
    return builder.sign(key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def general(san: str) -> x509.GeneralName:
    kind, _, value = san.rpartition(":")
    if kind == "mail":
        return x509.RFC822Name(value)
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(value))
    return x509.DNSName(san)


@pytest.mark.parametrize(
    ("text", "form", "host", "mailbox"),
    [
        ("server.example", Form.HOST, "server.example", ""),
        ("host/server.example", Form.HOST, "server.example", ""),
        ("host/Server.EXAMPLE.", Form.HOST, "server.example", ""),
        ("server", Form.HOST, "server", ""),
        ("xn--bcher-kva.example", Form.HOST, "xn--bcher-kva.example", ""),
        ("User.Name+x@Mail.Example", Form.MAIL, "mail.example", "User.Name+x"),
        ("CN=server.example", Form.DN, "", ""),
        ("C=CH, O=strongSwan, CN=carol@strongswan.org", Form.DN, "", ""),
    ],
)
def test_forms(text, form, host, mailbox):
    name = parse(text)
    assert (name.form, name.host, name.mailbox, name.text) == (form, host, mailbox, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a b", "a\0b", "a\nb", "a" * 1025, "host/", "http/server.example", "host/host/a"),
        *(
            "10.9.0.1",
            "host/10.9.0.1",
            "fd00:9::1",
            "host/fd00:9::1",
            "[::1]",
            "1.2.3",
            "0x7f.1",
            "127.1",
            "7",
        ),
        *("*.example", "*", "a.*.example", "*@example", "-a.example", "a-.example", "a..b", ".a", "a" * 64),
        *(".".join(["a" * 60] * 5), "bücher.example", "@example", "a@", "a@b@c", "a@1.2.3.4", "a@*.b"),
        *("C N", "CN=a,", "CN=a,,O=b", "=a", "CN=a b=c, d", "FOO=a", 'CN="a', "CN=a\\", "CN=a\\z", "CN=\\ff"),
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(NameFormError):
        parse(text)


@pytest.mark.parametrize("text", ["", "a\0", "a\n", "x" * 1025])
def test_raw_names_are_text(text):
    with pytest.raises(NameFormError):
        parse(text, raw=True)


def test_raw_names_are_the_identity_and_nothing_else():
    with_alias = certificate("a.example", "b.example")
    for identity, asked, same in [
        ("a.example", "a.example", True),
        ("a.example", "A.example", False),
        ("a.example", "b.example", False),
        ("a.example", "host/a.example", False),
        ("10.9.0.2", "10.9.0.2", True),
        ("C=CH, CN=a", "C=CH, CN=a", True),
        ("C=CH, CN=a", "CN=a, C=CH", False),
    ]:
        assert matches(parse(asked, raw=True), identity, [with_alias]) is same


@pytest.mark.parametrize(
    ("sans", "asked", "expected"),
    [
        (("b.example",), "b.example", True),
        (("B.Example",), "host/b.EXAMPLE", True),
        (("host/b.example",), "b.example", True),
        (("m.example",), "b.example", False),
        (("m.example", "b.example"), "b.example", True),
        (("*.example",), "b.example", True),
        (("*.example",), "a.b.example", False),
        (("*.example",), "example", False),
        (("*",), "b", False),
        (("*.*",), "b.example", False),
        (("b*.example",), "b.example", False),
        (("example",), "b.example", False),
        (("mail:root@b.example",), "b.example", False),
        (("ip:10.9.0.2",), "b.example", False),
        ((), "b.example", False),
        (("mail:Root@B.example",), "Root@b.EXAMPLE", True),
        (("mail:root@b.example",), "Root@b.example", False),
        (("b.example",), "root@b.example", False),
    ],
)
def test_the_certificate_has_the_name(sans, asked, expected):
    assert matches(parse(asked), "whoever", [certificate(*sans)]) is expected


def test_a_common_name_is_no_host():
    der = certificate(subject=(("CN", "b.example"),))
    assert not matches(parse("b.example"), "CN=b.example", [der])
    assert matches(parse("CN=b.example"), "CN=b.example", [der])


def test_every_certificate_of_the_identity_must_have_the_name():
    one, other = certificate("a.example"), certificate("a.example", "b.example")
    assert matches(parse("b.example"), "a.example", [other])
    assert not matches(parse("b.example"), "a.example", [one, other])
    assert matches(parse("a.example"), "a.example", [one, other])


def test_with_certificates_the_identity_counts_for_nothing():
    assert not matches(parse("b.example"), "b.example", [certificate("a.example")])
    assert not matches(parse("CN=a, O=b"), "CN=a, O=b", [certificate(subject=(("CN", "a, O=b"),))])
    assert not matches(parse("b.example"), "b.example", [b"", b"0\x03abc"])


@pytest.mark.parametrize(
    ("identity", "asked", "expected"),
    [
        ("b.example", "B.example", True),
        ("host/b.example", "b.example", True),
        ("b.example", "host/b.example", True),
        ("m.example", "b.example", False),
        ("*.example", "b.example", False),
        ("%any", "b.example", False),
        ("10.9.0.2", "b.example", False),
        ("root@b.example", "root@B.example", True),
        ("b.example", "root@b.example", False),
        ("C=CH, O=strongSwan, CN=moon", "CN=moon,O=strongSwan,C=CH", True),
        ("C=CH, O=strongSwan, CN=moon", "c=ch, o=StrongSwan, cn=moon", True),
        ("C=CH, O=strongSwan, CN=moon", "O=strongSwan, C=CH, CN=moon", False),
        ("C=CH, O=strongSwan, CN=moon", "C=CH, O=strongSwan", False),
        ("b.example", "CN=b.example", False),
    ],
)
def test_without_certificates_the_identity_is_the_name(identity, asked, expected):
    assert matches(parse(asked), identity, []) is expected


SUBJECT = (("C", "CH"), ("O", "Ring, Ltd. + Co"), ("OU", "Research"), ("CN", "moon  base"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (r"C=CH, O=Ring\, Ltd. \+ Co, OU=Research, CN=moon base", True),
        (r"CN=Moon Base,OU=Research,O=Ring\2C Ltd. \2b Co,C=CH", True),
        ('2.5.4.3=moon base; OU = research, O="Ring, Ltd. + Co", C=CH', True),
        (r"C=CH, O=Ring\, Ltd. \+ Co, OU=Research, CN=moonbase", False),
        (r"C=CH, O=Ring\, Ltd. \+ Co, CN=Research, OU=moon base", False),
        (r"C=CH, O=Ring, OU=Research, CN=moon base", False),
    ],
)
def test_subjects_are_compared_by_attributes(asked, expected):
    assert matches(parse(asked), "whoever", [certificate(subject=SUBJECT)]) is expected


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
VALUE = st.text(string.ascii_letters + string.digits + " ,+;\"\\<>=#'/äß", min_size=1, max_size=20).filter(
    str.strip
)
ATTRIBUTES = st.lists(
    st.tuples(st.sampled_from(sorted(OIDS.keys() - {"C", "DC"})), VALUE), min_size=1, max_size=4
)


@given(HOST, HOST)
def test_hosts_are_who_they_are_and_nobody_else(one, other):
    for form in (one, f"host/{one}", one.upper()):
        assert matches(parse(form), one, [])
        assert matches(parse(form), "whoever", [certificate(one)])
        assert matches(parse(form), other, []) is (one == other)


@given(HOST)
def test_wildcards_stand_for_one_label(host):
    first, dot, _ = host.partition(".")
    der = certificate("*.example")
    assert matches(parse(f"{first}.example"), "x", [der])
    assert matches(parse(f"{host}.example"), "x", [der]) is (not dot)


def escaped(value: str) -> str:
    return "".join("\\" + char if char in ' ,+;"\\<>=#' else char for char in value)


@given(ATTRIBUTES)
def test_written_names_are_read_as_they_were_meant(attributes):
    der = certificate(subject=tuple(attributes))
    forward = ", ".join(f"{kind}={escaped(value)}" for kind, value in attributes)
    backward = ",".join(f"{kind.lower()}={escaped(value)}" for kind, value in reversed(attributes))
    for text in (forward, backward):
        assert matches(parse(text), "x", [der])
    assert not matches(parse(forward + ", CN=more"), "x", [der])


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_a_name_or_is_refused(text, raw):
    try:
        name = parse(text, raw=raw)
    except NameFormError:
        return
    assert isinstance(matches(name, text, []), bool)


@given(st.text(max_size=60), st.booleans())
def test_any_text_as_a_distinguished_name(text, charon):
    try:
        found = dn.parse(text, charon=charon)
    except ValueError:
        return
    assert dn.same(found, found)
    assert not dn.same((), found)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_without_names(der):
    assert not names.matches(parse("b.example"), "b.example", [der])
