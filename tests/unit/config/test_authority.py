"""A CA for a lab: what it makes, who may read it, and that nothing is written over."""

from __future__ import annotations

import io
import ipaddress
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from wsasec.config.authority import Authority, make_authority
from wsasec.config.files import check_files
from wsasec.config.host import install, read_bundle, write_bundle
from wsasec.config.load import load
from wsasec.config.names import host_name
from wsasec.config.new_files import NewFile, create, make_folder, replace
from wsasec.config.secret_files import read_private_key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    make_authority(tmp_path / "ca", "Test CA")
    return Authority(tmp_path / "ca")


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_modes(tmp_path: Path, umask: None) -> None:
    """A umask of nothing at all lets everybody read what is made without care; one of 0777, nobody."""
    make_authority(tmp_path / "new/ca", "Test CA")
    authority = Authority(tmp_path / "new/ca")
    folder = tmp_path / "etc"
    install(folder, authority.issue("a.example"))
    write_bundle(tmp_path / "b.tar", authority.issue("b.example"))
    assert mode(tmp_path / "new") == 0o755
    assert mode(authority.folder) == mode(authority.hosts) == 0o700
    assert mode(authority.key) == 0o600
    assert mode(authority.certificate) == mode(authority.crl) == 0o644
    assert mode(folder) == 0o755
    modes = {path.name: mode(path) for path in folder.iterdir()}
    assert modes.pop("host.key") == 0o600
    assert modes == dict.fromkeys(["host.crt", "ca.crt", "ca.crl", "wsasec.toml"], 0o644)
    assert mode(tmp_path / "b.tar") == 0o600


def test_the_ca(authority: Authority) -> None:
    ca = certificate(authority.certificate)
    assert ca.subject.rfc4514_string() == "CN=Test CA"
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    key = read_private_key(authority.key)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    crl = x509.load_pem_x509_crl(authority.crl.read_bytes())
    assert not list(crl)
    assert crl.is_signature_valid(ca.public_key())


def test_a_host(authority: Authority, tmp_path: Path) -> None:
    addresses = [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fd00::1")]
    credentials = authority.issue("A.example", addresses)
    file = install(tmp_path / "etc", credentials)
    config = load(file)
    check_files(config)
    assert config.profiles["default"].identity.id == "a.example"
    assert [(rule.everyone, rule.profiles) for rule in config.access] == [(True, ("default",))]
    found = certificate(tmp_path / "etc/host.crt")
    found.verify_directly_issued_by(certificate(authority.certificate))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days == 397
    assert "PRIVATE" not in repr(credentials)


def test_a_host_has_one_certificate(authority: Authority) -> None:
    authority.issue("a.example")
    with pytest.raises(FileExistsError):
        authority.issue("A.EXAMPLE")
    authority.forget("a.example")
    authority.issue("a.example")


def test_no_certificate_outlives_its_ca(tmp_path: Path) -> None:
    make_authority(tmp_path / "ca", "x", days=10)
    authority = Authority(tmp_path / "ca")
    found = authority.issue("a.example")
    assert found.until == certificate(authority.certificate).not_valid_after_utc


def test_revoking(authority: Authority, tmp_path: Path) -> None:
    serials = []
    for name in ("a.example", "b.example", "c.example"):
        found = x509.load_pem_x509_certificate(authority.issue(name).certificate)
        serials.append(found.serial_number)
    authority.revoke("a.example")
    authority.revoke("b.example")
    crl = x509.load_pem_x509_crl(authority.crl.read_bytes())
    assert {entry.serial_number for entry in crl} == set(serials[:2])
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert crl.is_signature_valid(certificate(authority.certificate).public_key())
    with pytest.raises(ValueError, match=r"made no certificate for a\.example"):
        authority.revoke("a.example")
    authority.issue("a.example")  # a new one counts


def test_the_key_of_another_ca(authority: Authority, tmp_path: Path) -> None:
    make_authority(tmp_path / "other", "Test CA")
    authority.key.unlink()
    authority.key.write_bytes((tmp_path / "other/ca.key").read_bytes())
    authority.key.chmod(0o600)
    with pytest.raises(ValueError, match="this is not the key of"):
        authority.issue("a.example")
    authority.key.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 0600"):
        authority.issue("a.example")
    authority.certificate.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"ca\.crt: there is no certificate in it"):
        authority.issue("a.example")
    assert not list(authority.hosts.glob("*"))


def test_bundles(authority: Authority, tmp_path: Path) -> None:
    credentials = authority.issue("b.example")
    path = tmp_path / "b.tar"
    write_bundle(path, credentials)
    assert read_bundle(path) == credentials
    with pytest.raises(FileExistsError):
        write_bundle(path, credentials)
    path.chmod(0o644)
    with pytest.raises(ValueError, match=r"b\.tar: others than its owner may use it"):
        read_bundle(path)


def tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            member.type = kind
            member.linkname = "/etc/shadow"
            file.addfile(member, io.BytesIO(data))
    path.chmod(0o600)


def test_wrong_bundles(authority: Authority, tmp_path: Path) -> None:
    a, b = authority.issue("a.example"), authority.issue("b.example")
    make_authority(tmp_path / "other", "Test CA")
    other = (tmp_path / "other/ca.crt").read_bytes()
    good = {"host.crt": a.certificate, "host.key": a.key, "ca.crt": a.ca, "ca.crl": a.crl}
    path = tmp_path / "x.tar"

    def refused(text: str) -> None:
        with pytest.raises(ValueError, match=text) as caught:
            read_bundle(path)
        assert str(caught.value).startswith(f"{path}: ")

    tar(path, {**good, "../../etc/passwd": b"x", "/x": b"y"})
    assert read_bundle(path) == a
    tar(path, {**good, "host.key": b.key})
    refused("its key is not that of its certificate")
    tar(path, {**good, "ca.crt": other})
    refused("its certificate is not of its CA")
    tar(path, {**good, "ca.crl": b"x"})
    refused("x.tar: ")
    tar(path, {name: data for name, data in good.items() if name != "host.key"})
    refused("host.key is not in it")
    tar(path, good, tarfile.SYMTYPE)
    refused("host.crt, host.key, ca.crt, ca.crl is not in it")
    path.write_bytes(b"x" * 2000)
    refused("this is not a bundle")
    whole = tmp_path / "whole.tar"
    write_bundle(whole, a)
    path.write_bytes(whole.read_bytes()[:1500])
    refused("this is not a bundle|is not in it")
    authority.revoke("a.example")
    tar(path, {**good, "ca.crl": authority.crl.read_bytes()})
    refused("its certificate is revoked")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    files = [NewFile(tmp_path / name, b"new") for name in ("a", "b", "c")]
    files[2].path.symlink_to("nowhere")
    with pytest.raises(FileExistsError) as caught:
        create(files)
    assert caught.value.filename == str(tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert not (tmp_path / "nowhere").exists()


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a file comes into being in the meantime."""
    real = os.link

    def link(source: Path, target: Path) -> None:
        if target.name == "b":
            target.write_text("somebody else's")
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileExistsError):
        create([NewFile(tmp_path / name, b"new") for name in ("a", "b", "c")])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "somebody else's"}


def test_a_replacement_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = NewFile(tmp_path / "a", b"old", secret=True)
    create([file])
    replace(NewFile(file.path, b"new", secret=True))
    assert file.path.read_bytes() == b"new"
    assert mode(file.path) == 0o600

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        replace(NewFile(file.path, b"newer"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


def test_folders_of_others(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ValueError, match="others than its owner may write it"):
        make_folder(folder, 0o755)
    with pytest.raises(ValueError, match="others than its owner may write it"):
        make_authority(folder, "x")
    assert not list(folder.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="it is not a folder"):
        make_folder(tmp_path / "file", 0o755)


@pytest.mark.parametrize("name", ["a", "a.example", "A-1.Example", "1.x", "x" * 63 + ".example"])
def test_names(name: str) -> None:
    assert host_name(name) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a",
        "a-",
        "a_b",
        "*.a",
        "a b",
        "a/b",
        "../a",
        "10.0.0.1",
        "ä",
        "a\n",
        "x" * 64,
        "a." * 127 + "a",
    ],
)
def test_wrong_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a DNS name"):
        host_name(name)


def test_long_names(authority: Authority, tmp_path: Path) -> None:
    name = ".".join(["x" * 60] * 4)
    install(tmp_path / "etc", authority.issue(name))
    check_files(load(tmp_path / "etc/wsasec.toml"))
