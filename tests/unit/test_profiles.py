"""Profile files: what is taken, and where an error is said to be."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsasec import ConfigError, Profile, _wsasec, profiles

GOOD = """\
default = "site"

[profile.site]
guid = "11111111-2222-3333-4444-555555555555"
reqid = 300
mark = 0x58000000
mask = 0xff000000

[profile.audit]
guid = "{21111111-2222-3333-4444-555555555555}"
reqid = 301
mark = 0x59000000
mask = 0xff000000
protection = "integrity-only"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text(GOOD)
    return path


def test_builtin() -> None:
    found = profiles.load([])
    assert list(found) == ["default"]
    assert found.default is profiles.DEFAULT
    assert profiles.DEFAULT.encrypting
    assert profiles.DEFAULT.name == "default"


def test_a_good_file(file: Path) -> None:
    found = profiles.load([file])
    assert set(found) == {"default", "site", "audit"}
    assert found.default == found["site"]
    assert found["site"].encrypting
    assert not found["audit"].encrypting
    assert found["audit"].guid == uuid.UUID("21111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize("carrier", ["policy", "device", "auto"])
def test_carriers(file: Path, carrier: str) -> None:
    file.write_text(GOOD.replace("reqid = 300", f'reqid = 300\ncarrier = "{carrier}"'))
    found = profiles.load([file])
    assert found["site"].carrier == carrier
    assert found["site"].device == "ws300"
    assert found["audit"].carrier == profiles.DEFAULT.carrier == "policy"
    before = profiles.active()
    try:
        profiles.use(found)
    finally:
        profiles.use(before)


def test_the_carrier_of_the_default_one(file: Path) -> None:
    file.write_text('[profile.default]\ncarrier = "device"\n')
    found = profiles.load([file]).default
    assert (found.reqid, found.mark) == (profiles.DEFAULT.reqid, profiles.DEFAULT.mark)
    assert profiles.carrier_of(found) == "device"


@pytest.mark.parametrize("carrier", ["device", "auto"])
def test_congestion_control(file: Path, carrier: str) -> None:
    words = f'reqid = 300\ncarrier = "{carrier}"\ncongestion_control = "tcp_x-1"'
    file.write_text(GOOD.replace("reqid = 300", words))
    found = profiles.load([file])
    assert found["site"].congestion_control == "tcp_x-1"
    assert found["audit"].congestion_control == ""


@pytest.mark.parametrize(
    "words", ['congestion_control = "cubic"', 'carrier = "device"\ncongestion_control = "a b"']
)
def test_congestion_control_where_there_is_none(file: Path, words: str) -> None:
    file.write_text(GOOD.replace("reqid = 300", f"reqid = 300\n{words}"))
    with pytest.raises(ConfigError, match="congestion_control"):
        profiles.load([file])


@pytest.mark.parametrize("protection", ['"integrity-only"', '"integrity-only"\nah_proposals = ["sha256"]'])
@pytest.mark.parametrize("carrier", ["device", "auto"])
def test_a_device_only_encrypts(file: Path, protection: str, carrier: str) -> None:
    file.write_text(GOOD.replace('"integrity-only"', f'{protection}\ncarrier = "{carrier}"'))
    with pytest.raises(ConfigError, match="carrier: a device always encrypts"):
        profiles.load([file])


def test_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "CONFIG_DIR", file.parent / "none")
    monkeypatch.setenv("WSASEC_CONFIG", str(file))
    assert profiles.load().default.name == "site"
    monkeypatch.setenv("WSASEC_CONFIG", str(file) + ".missing")
    with pytest.raises(FileNotFoundError):
        profiles.load()


def test_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows there is none: /etc would be on whatever drive is the current one."""
    monkeypatch.setattr(profiles, "CONFIG_DIR", file.parent)
    monkeypatch.delenv("WSASEC_CONFIG", raising=False)
    (file.parent / "other.txt").write_text("not ours")
    found = {"default"} if sys.platform == "win32" else {"default", "site", "audit"}
    assert set(profiles.load()) == found


def test_a_file_of_the_folder_that_is_named_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read once: its profiles are not defined twice."""
    monkeypatch.setattr(profiles, "CONFIG_DIR", file.parent)
    monkeypatch.setenv("WSASEC_CONFIG", str(file))
    assert set(profiles.load()) == {"default", "site", "audit"}
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("WSASEC_CONFIG", file.name)
    assert set(profiles.load()) == {"default", "site", "audit"}


def test_a_file_may_redefine_the_default(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        '[profile.default]\nguid = "31111111-2222-3333-4444-555555555555"\nreqid = 5\nmark = 1\nmask = 1\n'
    )
    found = profiles.load([path])
    assert list(found) == ["default"]
    assert found.default.reqid == 5


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("reqid = 300", "reqid = 300\nreqid2 = 1", 6, "unknown key"),
        ("reqid = 300", "reqid = 0", 5, "reqid: 0 is not a number from 1"),
        ("reqid = 300", "reqid = 4294967296", 5, "reqid"),
        ("reqid = 300", "reqid = true", 5, "reqid"),
        ("reqid = 300", "reqid = 3.5", 5, "reqid"),
        ("reqid = 300", "reqid = 301", 11, "reqid: profile 'site' has this reqid"),
        ("reqid = 300", "reqid = 22273", None, "reqid: profile 'default' has this reqid"),
        ("reqid = 300\n", "", 3, "reqid: missing"),
        ("mark = 0x58000000", "mark = 0", 6, "mark"),
        ("mark = 0x58000000", "mark = 1", 6, "mark: 0x1 has bits outside mask"),
        ("mark = 0x59000000", "mark = 0x58000000", 12, "mark: a packet could carry this mark and that of"),
        ("mask = 0xff000000\n\n", "mask = -1\n\n", 7, "mask"),
        ("11111111-2222", "x", 4, "guid: .* is not a GUID"),
        ('"11111111-2222-3333-4444-555555555555"', "7", 4, "guid: 7 is not a GUID"),
        ("11111111-2222-3333-4444-555555555555", "0" * 32, 4, "guid: the zero GUID"),
        ("{21111111", "{11111111", 10, "guid: profile 'site' has this GUID"),
        ('"integrity-only"', '"none"', 14, "protection: 'none' is neither"),
        ('"integrity-only"', "[]", 14, "protection"),
        ("reqid = 301", 'reqid = 301\ncarrier = "tunnel"', 12, "carrier: 'tunnel' is none of"),
        ('default = "site"', 'default = "gone"', 1, "there is no profile 'gone'"),
        ('default = "site"', "default = 5", 1, "default: not the name"),
        ('default = "site"', "defualt = 5", 1, "defualt: unknown key"),
        ("[profile.audit]", "[profiles.audit]", None, "profiles: unknown key"),
        ("[profile.site]", '[profile."a b"]', 3, "name: 'a b'"),
        ("[profile.site]", "[profile.site", 3, "line 3"),
        ("mask = 0xff000000\n\n", "mask = \n\n", 7, "line 7"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, old: str, new: str, line: int | None, text: str) -> None:
    assert old in GOOD
    path = tmp_path / "wrong.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=text) as caught:
        profiles.load([path])
    if line is not None:
        assert caught.value.line == line
        assert f"{path}:{line}: " in str(caught.value)


def test_the_same_profile_in_two_files(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "z.toml"
    other.write_text(GOOD)
    with pytest.raises(ConfigError, match="defined twice"):
        profiles.load([file, other])


def test_a_file_that_anyone_may_write(file: Path) -> None:
    file.chmod(0o666)
    if sys.platform == "win32":  # what Python tells there of a file's mode says nothing of who may write it
        assert "site" in profiles.load([file])
        return
    with pytest.raises(ConfigError, match="chmod o-w"):
        profiles.load([file])


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"default = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        profiles.load([path])


@given(
    st.text(max_size=300)
    | st.builds(lambda a, b: GOOD[:a] + GOOD[b:], st.integers(0, 400), st.integers(0, 400))
)
@example("[profile]\nx = 1")
@example("profile = 3")
@example("[[profile]]")
def test_any_text_gives_profiles_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "p.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = profiles.load([path])
    except ConfigError as error:
        assert error.path in (path, None)  # noqa: PT017
    else:
        assert found.default.name in found


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 64},
        {"name": "a/b"},
        {"guid": uuid.UUID(int=0)},
        {"reqid": 0},
        {"mark": 2**32},
        {"mask": 0},
        {"protocol": 6},
        {"protocol": 51},
        {"carrier": "tunnel"},
        {"carrier": "device", "encrypting": False},
        {"carrier": "auto", "encrypting": False},
        {"carrier": "device", "encrypting": False, "protocol": 51},
        {"congestion_control": "cubic"},
        {"carrier": "device", "congestion_control": "a" * 16},
        {"carrier": "auto", "congestion_control": "two words"},
    ],
    ids=str,
)
def test_profile_checks(change: dict[str, object]) -> None:
    good = {"name": "x", "guid": uuid.uuid4(), "reqid": 1, "mark": 1, "mask": 1}
    Profile(**good)
    with pytest.raises(ValueError):
        Profile(**{**good, **change})


def test_the_core_checks_again() -> None:
    """set_profiles is the last gate: whoever calls it."""
    good = ("x", uuid.uuid4().bytes_le, 1, 0x1, 0xF, True, 50, 0)
    for bad in (
        [],
        [("x", bytes(16), 1, 1, 1, True, 50, 0)],
        [("x", uuid.uuid4().bytes_le, 0, 1, 1, True, 50, 0)],
        [("x", uuid.uuid4().bytes_le, 1, 0, 1, True, 50, 0)],
        [("x", uuid.uuid4().bytes_le, 1, 2, 1, True, 50, 0)],
        [good, ("y", uuid.uuid4().bytes_le, 1, 2, 15, True, 50, 0)],
        [good, ("x", uuid.uuid4().bytes_le, 2, 2, 15, True, 50, 0)],
        [good, ("y", good[1], 2, 2, 15, True, 50, 0)],
        [good, ("y", uuid.uuid4().bytes_le, 2, 0x10, 0xF0, True, 50, 0)],
        [("n" * 64, uuid.uuid4().bytes_le, 1, 1, 1, True, 50, 0)],
        [("x", b"short", 1, 1, 1, True, 50, 0)],
        [(*good[:5], True, 51, 0)],
        [(*good[:5], True, 6, 0)],
        [(*good[:7], 3)],
        [(*good[:5], False, 50, 1)],
        [(*good[:5], False, 51, 2)],
        [(f"p{i}", uuid.uuid4().bytes_le, i + 1, i + 1, 0xFFFF, True, 50, 0) for i in range(257)],
    ):
        with pytest.raises(ValueError):
            _wsasec.set_profiles(bad, "x")
