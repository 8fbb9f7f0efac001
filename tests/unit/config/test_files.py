"""The files that the configuration names: every way in which one can be wrong is told with its line."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from authority import write_certificate, write_key, write_public
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from wsasec import ConfigError
from wsasec.config.files import check_files
from wsasec.config.load import load
from wsasec.config.secret_files import read_psk

TEXT = """\
[identity]
certificate = "a.crt"
key = "a.key"
[trust]
ca = ["ca.crt"]

[profile.raw]
guid = "11111111-2222-3333-4444-555555555555"
reqid = 300
mark = 0x58000000
mask = 0xff000000
identity = { id = "raw", raw_key = "raw.key" }
trust = { pinned = [
  "b.pub",
] }

[profile.psk]
guid = "11111111-2222-3333-4444-555555555556"
reqid = 301
mark = 0x59000000
mask = 0xff000000
identity = { id = "psk", psk = "a.psk" }
"""
SECRET = "correct horse battery staple"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is named, all of it as it should be."""
    (tmp_path / "w.toml").write_text(TEXT)
    key = write_key(tmp_path / "a.key")
    write_certificate(tmp_path / "a.crt", key, names=(x509.DNSName("A.example"),))
    write_certificate(tmp_path / "ca.crt", write_key(tmp_path / "ca.key"), ca=True)
    write_key(tmp_path / "raw.key")
    write_public(tmp_path / "b.pub", key)
    (tmp_path / "a.psk").write_text(SECRET + "\n")
    (tmp_path / "a.psk").chmod(0o600)
    return tmp_path


def check(folder: Path) -> None:
    check_files(load(folder / "w.toml"))


def wrong(folder: Path, line: int, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        check(folder)
    assert caught.value.line == line
    assert SECRET not in str(caught.value)
    assert "PRIVATE" not in str(caught.value).replace("-----BEGIN PRIVATE KEY-----", "")


def test_all_is_well(folder: Path) -> None:
    check(folder)
    assert load(folder / "w.toml").profiles["default"].identity.id == "A.example"


@pytest.mark.parametrize(
    ("name", "line", "key"),
    [
        ("a.key", 3, "identity.key"),
        ("ca.crt", 5, "trust.ca"),
        ("raw.key", 12, "profile 'raw': identity.raw_key"),
        ("b.pub", 14, "profile 'raw': trust.pinned"),
        ("a.psk", 22, "profile 'psk': identity.psk"),
    ],
)
def test_each_file(folder: Path, name: str, line: int, key: str) -> None:
    path = folder / name
    good = path.read_bytes()
    path.unlink()
    wrong(folder, line, f"{key}: .*: there is no such file")
    path.mkdir()
    wrong(folder, line, f"{key}: .*: it is not a regular file|Is a directory")
    path.rmdir()
    os.mkfifo(path, 0o600)
    wrong(folder, line, f"{key}: .*: it is not a regular file")
    path.unlink()
    path.write_bytes(b"nonsense")
    path.chmod(0o600)
    wrong(folder, line, f"{key}: .*: (there is no|it is shorter)")
    path.write_bytes(good + b" " * (1 << 20))
    wrong(folder, line, f"{key}: .*: it is larger")
    path.write_bytes(good)
    check(folder)
    path.chmod(0o622)
    wrong(folder, line, f"{key}: .*: others than its owner may (use|write) it .* run chmod")


def test_a_pipe_in_place_of_the_certificate(folder: Path) -> None:
    """Nobody writes into it: whoever waited for that would wait for ever."""
    (folder / "a.crt").unlink()
    os.mkfifo(folder / "a.crt")
    wrong(folder, 2, "identity.certificate: .*a.crt: it is not a regular file")


def test_what_the_file_says_is_checked_after_a_policy(folder: Path) -> None:
    """A profile with a policy has an identity and trust that are nowhere in the file."""
    policy = 'protection = "integrity-only"\npolicy = "windows-vista-default"\n'
    numbers = TEXT.partition("[profile.raw]\n")[2].partition("identity")[0]
    (folder / "w.toml").write_text(
        f"{TEXT.partition('[profile')[0]}[profile.old]\n{numbers}{policy}[profile.default]\n"
    )
    check(folder)
    (folder / "a.key").chmod(0o644)
    wrong(folder, 3, "identity.key: .*others than its owner may use it")
    (folder / "a.key").chmod(0o600)
    (folder / "ca.crt").unlink()
    wrong(folder, 5, "trust.ca: .*there is no such file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
@pytest.mark.parametrize(("name", "line"), [("a.key", 3), ("raw.key", 12), ("a.psk", 22)])
def test_secrets_that_others_may_read(folder: Path, name: str, line: int, mode: int) -> None:
    (folder / name).chmod(mode)
    wrong(folder, line, f"others than its owner may use it \\(its mode is {mode:04o}\\); run chmod 0600")


def test_a_certificate_that_others_may_write(folder: Path) -> None:
    (folder / "a.crt").chmod(0o664)
    wrong(folder, 2, "others than its owner may write it .* chmod go-w")


def test_files_of_other_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of root and of oneself they may be; who is asked about is told to be another."""
    real = os.fstat
    mine = os.geteuid()

    def fstat(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        status[4] = 12345 if name == "a.key" else mine
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat)
    wrong(folder, 3, "it belongs to user 12345, not to root; run chown root")


def test_the_key_of_another_certificate(folder: Path) -> None:
    write_key(folder / "a.key")
    wrong(folder, 3, "a.key: this is not the key of the certificate .*a.crt")


def test_a_certificate_in_place_of_the_key(folder: Path) -> None:
    (folder / "a.key").write_bytes((folder / "a.crt").read_bytes())
    wrong(folder, 3, "there is no private key in it")


@pytest.mark.parametrize(
    ("days", "text"), [((-9, -1), "the certificate has expired on"), ((1, 9), "is not valid before")]
)
def test_time(folder: Path, days: tuple[int, int], text: str) -> None:
    key = write_key(folder / "a.key")
    write_certificate(folder / "a.crt", key, names=(x509.DNSName("a.example"),), days=days)
    wrong(folder, 2, text)
    write_certificate(folder / "ca.crt", key, ca=True, days=days)
    write_certificate(folder / "a.crt", key)
    wrong(folder, 5, "the certificate of the CA " + ("has expired" if days[0] < 0 else "is not valid"))


def test_the_time_of_the_check(folder: Path) -> None:
    config = load(folder / "w.toml")
    check_files(config, datetime.now(UTC) + timedelta(days=29))
    with pytest.raises(ConfigError, match="has expired"):
        check_files(config, datetime.now(UTC) + timedelta(days=31))


def test_an_old_ca_beside_the_new_one(folder: Path) -> None:
    good = (folder / "ca.crt").read_bytes()
    write_certificate(folder / "old.crt", write_key(folder / "old.key"), ca=True, days=(-9, -1))
    (folder / "ca.crt").write_bytes((folder / "old.crt").read_bytes() + good)
    check(folder)


def test_a_host_in_place_of_the_ca(folder: Path) -> None:
    (folder / "ca.crt").write_bytes((folder / "a.crt").read_bytes())
    wrong(folder, 5, "ca.crt: this is not the certificate of a CA")


def test_an_identity_that_the_certificate_does_not_give(folder: Path) -> None:
    text = TEXT.replace("[identity]\n", '[identity]\nid = "b.example"\n')
    (folder / "w.toml").write_text(text)
    wrong(folder, 2, "the certificate is for A.example, CN=host, not for b.example")
    (folder / "w.toml").write_text(text.replace("b.example", "a.EXAMPLE"))
    check(folder)


def test_keys_of_other_kinds(folder: Path) -> None:
    small = rsa.generate_private_key(65537, 1024)
    (folder / "raw.key").write_bytes(
        small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass phrase"))
    )
    wrong(folder, 12, "it is encrypted")
    from cryptography.hazmat.primitives.serialization import NoEncryption

    (folder / "raw.key").write_bytes(small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    wrong(folder, 12, "an RSA key of 1024 bits; 2048 are the least")


def test_a_secret_in_place_of_its_file(folder: Path) -> None:
    (folder / "w.toml").write_text(TEXT.replace("a.psk", SECRET))
    wrong(folder, 22, "identity.psk: the file: there is no such file")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"0123456789abcdef", b"0123456789abcdef"),
        (b"0123456789abcde \r\n", b"0123456789abcde "),
        (b"short\n", None),
    ],
)
def test_pre_shared_keys(tmp_path: Path, text: bytes, key: bytes | None) -> None:
    path = tmp_path / "psk"
    path.write_bytes(text)
    path.chmod(0o600)
    if key is None:
        with pytest.raises(ValueError, match="shorter than 16"):
            read_psk(path)
    else:
        assert read_psk(path) == key


@pytest.mark.parametrize(
    ("subject", "names", "identity"),
    [
        ("CN=x", (x509.RFC822Name("a@example"), x509.DNSName("b.example")), "b.example"),
        ("CN=x", (x509.RFC822Name("a@example"),), "a@example"),
        ("CN=host,O=lab,C=CH", (), "C=CH, O=lab, CN=host"),
    ],
)
def test_identities(folder: Path, subject: str, names: tuple[x509.GeneralName, ...], identity: str) -> None:
    key = write_key(folder / "a.key")
    write_certificate(folder / "a.crt", key, subject=subject, names=names)
    assert load(folder / "w.toml").profiles["default"].identity.id == identity
    check(folder)


def test_a_certificate_that_names_nobody(folder: Path) -> None:
    write_certificate(folder / "a.crt", write_key(folder / "a.key"), subject="")
    with pytest.raises(ConfigError, match="the certificate names nobody") as caught:
        load(folder / "w.toml")
    assert caught.value.line == 2
