"""The administrator's file: what is taken, and where an error is said to be."""
# ruff: noqa: E501 - one line for each wrong file.

from __future__ import annotations

import ipaddress
import uuid
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsasec import ConfigError, profiles
from wsasec.config import model
from wsasec.config.load import load, signal_of
from wsasec.config.model import Access, Account, Authentication, Revocation
from wsasec.profiles import DEFAULT

# Every key is here once; lines are counted by the tests.
GOOD = """\
default = "site"

[identity]
id = "a.example"
certificate = "a.crt"
key = "/keys/a.key"

[trust]
ca = ["ca.crt"]
crl = ["ca.crl"]
revocation = "strict"
anonymous = true

[profile.default]
rekey_seconds = 60
rekey_bytes = 1000000
ike_rekey_seconds = 600
idle_seconds = 300
dpd_seconds = 5
peers = ["10.0.0.0/8", "fd00::/8"]
names = ["b.example", "*.lab.example"]

[profile.site]
guid = "11111111-2222-3333-4444-555555555555"
reqid = 300
mark = 0x58000000
mask = 0xff000000
protection = "encrypting"
proposals = ["aes128gcm16-esn", "aes128-sha256-modp2048"]
ike_proposals = ["aes128-sha256-modp2048"]
ike_version = 2

[profile.site.identity]
id = "site.a.example"
psk = "site.psk"

[profile.audit]
guid = "21111111-2222-3333-4444-555555555555"
reqid = 301
mark = 0x59000000
mask = 0xff000000
protection = "integrity-only"
ah_proposals = ["sha256"]
identity = { id = "audit", raw_key = "audit.key" }
trust = { pinned = ["b.pub"] }

[[access]]
everyone = true
profiles = ["default"]

[[access]]
users = ["alice", 1000]
groups = ["wheel"]

[[account]]
identity = "b.example"
account = "bob"

[[account]]
domain = "Lab.example"
account = "lab"

[daemon]
vici = "unix:///run/charon.vici"
first_seconds = 3
spin_microseconds = 50
one_call = false
"""
CERTIFICATE = '[identity]\nid = "a"\ncertificate = "a.crt"\nkey = "a.key"\n[trust]\nca = ["ca.crt"]\n'


def number_of(line: str) -> int:
    return GOOD.splitlines().index(line) + 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "wsasec.toml"
    path.write_text(GOOD)
    return path


def test_all_of_it(file: Path, tmp_path: Path) -> None:
    config = load(file)
    assert config.path == file
    assert config.default == "site"
    assert set(config.profiles) == {"default", "site", "audit"}
    assert config.access == (
        Access(everyone=True, profiles=("default",)),
        Access(users=("alice", "1000"), groups=("wheel",)),
    )
    assert config.accounts == (Account("bob", identity="b.example"), Account("lab", domain="lab.example"))
    assert config.vici == "unix:///run/charon.vici"
    assert config.first_seconds == 3.0
    assert config.spin_microseconds == 50
    assert config.one_call is False

    default = config.profiles["default"]
    assert default.profile == DEFAULT
    assert default.identity.id == "a.example"
    assert default.identity.authentication == Authentication.CERTIFICATE
    assert default.identity.certificate == tmp_path / "a.crt"
    assert default.identity.key == tmp_path / "/keys/a.key"
    assert default.trust.ca == (tmp_path / "ca.crt",)
    assert default.trust.crl == (tmp_path / "ca.crl",)
    assert default.trust.revocation == Revocation.STRICT
    assert default.trust.anonymous
    assert default.ike_proposals == model.IKE_PROPOSALS
    assert default.esp_proposals == model.ESP_PROPOSALS
    assert (default.rekey_seconds, default.rekey_bytes, default.ike_rekey_seconds) == (60, 1000000, 600)
    assert (default.idle_seconds, default.dpd_seconds) == (300, 5)
    assert default.peers == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    assert default.names == ("b.example", "*.lab.example")
    assert default.signal == 0

    site = config.profiles["site"]
    assert site.identity == model.Identity("site.a.example", Authentication.PSK, psk=tmp_path / "site.psk")
    assert site.trust == default.trust
    assert site.esp_proposals == ("aes128gcm16-esn", "aes128-sha256-modp2048")
    assert site.profile.encrypting

    audit = config.profiles["audit"]
    assert audit.identity == model.Identity("audit", Authentication.RAW_KEY, key=tmp_path / "audit.key")
    assert audit.trust == model.Trust(pinned=(tmp_path / "b.pub",))
    assert audit.ah_proposals == ("sha256",)
    assert audit.esp_proposals == ()
    assert not audit.profile.encrypting
    assert audit.profile.protocol == 51
    assert len({0, site.signal, audit.signal}) == 3


def test_programs_read_the_same_file(file: Path) -> None:
    """No file that it names is there, and none is looked for."""
    found = profiles.load([file])
    assert dict(found) == {name: profile.profile for name, profile in load(file).profiles.items()}
    assert found.default.name == "site"


def test_the_default_profile_needs_no_table(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text(CERTIFICATE)
    config = load(path)
    assert list(config.profiles) == ["default"]
    assert config.default == "default"
    assert config.profiles["default"].profile == DEFAULT
    assert config.access == ()


def test_parts_of_the_default_profile(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text(CERTIFICATE + "[profile.default]\nreqid = 7\n")
    found = load(path).profiles["default"].profile
    assert (found.reqid, found.guid, found.mark, found.mask) == (7, DEFAULT.guid, DEFAULT.mark, DEFAULT.mask)


def test_where_the_file_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSASEC_CONFIG", str(file))
    assert load().path == file
    monkeypatch.setenv("WSASEC_CONFIG", str(file) + ".missing")
    with pytest.raises(FileNotFoundError):
        load()


def test_signals_stay_the_same() -> None:
    """Hosts of other versions must come to the same numbers."""
    assert signal_of(DEFAULT) == 0
    site = profiles.Profile("x", uuid.UUID("11111111-2222-3333-4444-555555555555"), 1, 1, 1)
    assert signal_of(site) == 44068


@given(st.uuids().filter(lambda guid: guid.int != 0))
def test_signals_are_ports(guid: uuid.UUID) -> None:
    assert 1 <= signal_of(profiles.Profile("x", guid, 1, 1, 1)) <= 65535


# What is replaced in GOOD, by what, on which line the error is, and what it says.
WRONG = [
    ('[daemon]', '[deamon]', '[daemon]', "deamon: unknown key, did you mean daemon\\? Known are default, "),
    ('key = "/keys/a.key"\n', '', 'certificate = "a.crt"', "identity.certificate: it needs key, too"),
    ('key = "/keys/a.key"', 'key = 7', 'key = "/keys/a.key"', "identity.key: not the name of a file"),
    ('key = "/keys/a.key"', 'psk = "x"\nkey = "k"', 'key = "/keys/a.key"', "psk: certificate is there, too"),
    ('id = "a.example"', 'idd = "a.example"', 'id = "a.example"', "identity.idd: unknown key, did you mean id"),
    ('ca = ["ca.crt"]', 'ca = "ca.crt"', 'ca = ["ca.crt"]', "trust.ca: 'ca.crt' is not a list"),
    ('ca = ["ca.crt"]', 'ca = [1]', 'ca = ["ca.crt"]', "trust.ca: not the name of a file"),
    ('revocation = "strict"', 'revocation = "on"', 'revocation = "strict"', "none of 'relaxed', 'ifuri', 'strict'"),
    ('anonymous = true', 'anonymous = 1', 'anonymous = true', "trust.anonymous: 1 is neither true nor false"),
    ('rekey_seconds = 60', 'rekey_seconds = 0', 'rekey_seconds = 60', "rekey_seconds: 0 is not a number from 1 to"),
    ('rekey_bytes = 1000000', 'rekey_bytes = -1', 'rekey_bytes = 1000000', "number from 0 to .*: 0 for no limit"),
    ('dpd_seconds = 5', 'dpd_seconds = 5.0', 'dpd_seconds = 5', "5.0 is not a number"),
    ('"fd00::/8"', '"fd00::1/8"', 'peers = ["10.0.0.0/8", "fd00::/8"]', "fd00::1/8 has host bits set"),
    ('"*.lab.example"', '"a.*.example"', 'names = ["b.example", "*.lab.example"]', "names: not an identity, or a pat"),
    ('"aes128gcm16-esn"', '"aes128gcm-esn"', 'proposals = ["aes128gcm16-esn", "aes128-sha256-modp2048"]',
     "'aes128gcm' is no keyword here; did you mean 'aes128gcm16'"),
    ('"aes128gcm16-esn"', '"null-sha256"', 'proposals = ["aes128gcm16-esn", "aes128-sha256-modp2048"]',
     "profile 'site': proposals: 'null-sha256' does not encrypt; a profile that may do without"),
    ('"aes128gcm16-esn"', '"aes256gmac"', 'proposals = ["aes128gcm16-esn", "aes128-sha256-modp2048"]',
     "'aes256gmac' does not encrypt"),
    ('"aes128gcm16-esn"', '"aes128-esn"', 'proposals = ["aes128gcm16-esn", "aes128-sha256-modp2048"]',
     "an integrity algorithm is wanted"),
    ('ike_proposals = ["aes128-sha256-modp2048"]', 'ike_proposals = ["aes256gcm16-ecp256"]',
     'ike_proposals = ["aes128-sha256-modp2048"]', "a PRF is wanted"),
    ('ike_proposals = ["aes128-sha256-modp2048"]', 'ike_proposals = []',
     'ike_proposals = ["aes128-sha256-modp2048"]', "the list is empty"),
    ('ike_version = 2', 'ike_version = 3', 'ike_version = 2', "ike_version: 3 is neither 2 nor 1"),
    ('ike_version = 2', 'ike_version = 2\nah_proposals = ["sha256"]\n#', None, "proposals is there, too: only one"),
    ('psk = "site.psk"\n', '', '[profile.site.identity]', "'site': identity: one of certificate, raw_key, psk, anonymo"),
    ('id = "site.a.example"\n', '', 'id = "site.a.example"', "psk: it needs id, too"),
    ('"site.a.example"', '"a.example"', 'ike_proposals = ["aes128-sha256-modp2048"]', "ike_proposals: profile 'default' has this ident"),
    ('protection = "integrity-only"\n', '', 'protection = "integrity-only"', "ah_proposals: AH does not encrypt"),
    ('["sha256"]', '["aes128gcm16"]', 'ah_proposals = ["sha256"]', "'aes128gcm16' is no keyword here"),
    ('["b.pub"]', '[]', 'trust = { pinned = ["b.pub"] }', "'audit': trust: nobody is believed"),
    ('"b.pub"', '"b.pub", 1', 'trust = { pinned = ["b.pub"] }', "trust.pinned: not the name of a file"),
    ('everyone = true\n', '', '[[access]]', "access: some of everyone, users, groups is missing"),
    ('everyone = true', 'everyone = "yes"', 'everyone = true', "access.everyone: 'yes' is neither true nor false"),
    ('profiles = ["default"]', 'profiles = ["x"]', 'profiles = ["default"]', "there is no profile 'x'; there are audit,"),
    ('profiles = ["default"]', 'profiles = []', 'profiles = ["default"]', "leave it out for all"),
    ('1000]', '-1]', 'users = ["alice", 1000]', "access.users: -1 is not a number"),
    ('"alice"', '"a:b"', 'users = ["alice", 1000]', "access.users: not the name or number of a user"),
    ('account = "bob"\n', '', '[[account]]', "account.account: missing"),
    ('"Lab.example"', '"*.lab.example"', 'domain = "Lab.example"', "not a domain such as"),
    ('account = "lab"', 'account = "root"', 'account = "lab"', "no peer stands for root"),
    ('domain = "Lab.example"', 'identity = "b.example"', 'domain = "Lab.example"', "it has an account already"),
    ('first_seconds = 3', 'first_seconds = nan', 'first_seconds = 3', "nan is not a number of seconds from 0.1"),
    ('unix:///', 'tcp://', 'vici = "unix:///run/charon.vici"', "daemon.vici: not a socket"),
    ('first_seconds = 3', f'first_seconds = 0x{"f" * 5000}', 'first_seconds = 3', "this is not a number of seconds"),
    ('first_seconds = 3', f'first_seconds = {"9" * 5000}', None, "digits"),
    ('first_seconds = 3', f'x = {"[" * 5000}{"]" * 5000}', None, "too many tables or lists"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "text"), WRONG, ids=range(len(WRONG)))
def test_errors_name_the_line(tmp_path: Path, old: str, new: str, where: str | None, text: str) -> None:
    assert old in GOOD
    path = tmp_path / "wrong.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=text) as caught:
        load(path)
    assert caught.value.path == path
    assert caught.value.line is not None
    if where is not None:
        assert caught.value.line == number_of(where)
        assert str(caught.value).startswith(f"{path}:{number_of(where)}: ")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "identity: missing: who this host is; `wsasec init host NAME`"),
        ('[identity]\npsk = "hunter2hunter2"\n', 2, "psk: it needs id, too"),
        ('[identity]\npsk = ["hunter2hunter2"]\n', 2, "psk: not the name of a file"),
        ('[identity]\nraw_key = "k"\n', 2, "raw_key: it needs id, too"),
        ("[identity]\nanonymous = false\n", 2, "it can only be true"),
        ("[identity]\nanonymous = true\n", 1, "trust: nobody is believed"),
        (CERTIFICATE.replace('id = "a"\n', ""), 2, "a.crt: No such file"),
    ],
)
def test_without_the_rest(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert caught.value.line == line
    assert "hunter2" not in str(caught.value)


OTHER = """
[profile.other]
guid = "11111111-2222-3333-4444-555555555555"
reqid = 300
mark = 0x58000000
mask = 0xff000000
"""


@pytest.mark.parametrize(
    ("default", "other", "key"),
    [
        ("", "", None),
        ("", "rekey_seconds = 9", None),  # of the child, which is chosen by the signal
        ("", "ike_rekey_seconds = 9", "ike_rekey_seconds"),
        ("", "dpd_seconds = 9", "dpd_seconds"),
        ("", "ike_version = 1", "ike_version"),
        ("", 'peers = ["10.0.0.0/8"]', "peers"),
        ('peers = ["10.1.0.0/16"]', 'peers = ["10.0.0.0/8"]', "peers"),
        ('peers = ["11.0.0.0/8"]', 'peers = ["10.0.0.0/8"]\ndpd_seconds = 9', None),
        ('peers = ["fd00::/8"]', 'peers = ["10.0.0.0/8"]\ndpd_seconds = 9', None),
        ('names = ["a.x"]', 'names = ["b.x"]', None),
        ('names = ["a.x"]', 'names = ["b.x"]\ndpd_seconds = 9', "dpd_seconds"),
        ('names = ["*.x"]', 'names = ["b.x"]', "names"),
        ('names = ["*.x"]', 'names = ["*.a.X"]', "names"),
        ('names = ["*.x"]', 'names = ["*.ax"]', None),
        ('names = ["*.x"]', 'names = ["CN=*, O=y"]', "names"),
        ('names = ["CN=z"]', 'names = ["CN=y"]', None),
        ("", 'trust = { ca = ["other.crt"] }', "trust"),
        ("", 'identity = { id = "a", psk = "p" }', "identity"),
        ("", 'identity = { id = "b", psk = "p" }\ndpd_seconds = 9', None),
    ],
)
def test_profiles_with_one_identity(tmp_path: Path, default: str, other: str, key: str | None) -> None:
    path = tmp_path / "w.toml"
    path.write_text(CERTIFICATE + f"[profile.default]\n{default}\n{OTHER}\n{other}\n")
    if key is None:
        load(path)
        return
    with pytest.raises(
        ConfigError, match=f"profile 'other': {key}: profile 'default' has this identity"
    ) as caught:
        load(path)
    there = [number for number, line in enumerate(path.read_text().splitlines(), 1) if line.startswith(key)]
    assert caught.value.line == max(there)


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ('id = "a", raw_key = "k"', 'id = "b", raw_key = "k"', True),
        ('id = "a", raw_key = "k"', 'id = "a", raw_key = "l"', False),
        ("anonymous = true", 'anonymous = true, id = "b"', True),
        ('id = "a", psk = "p"', 'id = "A", psk = "p"', True),
        ('id = "a", psk = "p"', 'id = "b", psk = "p"', False),
    ],
)
def test_what_peers_see_of_an_identity(tmp_path: Path, first: str, second: str, clash: bool) -> None:
    """Of a raw key the key, of one who stays anonymous nothing: whatever id says."""
    trust = 'trust = { ca = ["ca.crt"] }'
    path = tmp_path / "w.toml"
    path.write_text(
        f"[profile.default]\nidentity = {{ {first} }}\n{trust}\n{OTHER}\nidentity = {{ {second} }}\n{trust}\n"
    )
    if not clash:
        load(path)
        return
    with pytest.raises(
        ConfigError, match="profile 'other': identity: profile 'default' has this identity's id"
    ):
        load(path)


def cut(a: int, b: int, new: str) -> str:
    return GOOD[:a] + new + GOOD[b:]


@given(
    st.text(max_size=200)
    | st.builds(
        cut,
        st.integers(0, len(GOOD)),
        st.integers(0, len(GOOD)),
        st.sampled_from(["", "x", "=", '"', "[]", "{}", "1", "\n", "[access]", "true"])
        | st.text(max_size=10),
    )
)
@example("[identity]\n[identity.psk]")
@example("[[identity]]")
@example("access = 1")
@example("[access]\nusers = []")
@example("[profile.default.profile.default]")
def test_any_text_gives_a_configuration_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "w.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (load, lambda path: profiles.load([path])):
        try:
            read(path)
        except ConfigError as error:
            assert error.path == path  # noqa: PT017
            assert error.line is not None  # noqa: PT017
            assert 1 <= error.line <= text.count("\n") + 1  # noqa: PT017
