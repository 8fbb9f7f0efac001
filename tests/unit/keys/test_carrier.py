"""Which configurations an engine carries, and where charon's plugin for it is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ike_hosts import another_profile, config, key_profile

from wsasec.config.model import Authentication, Identity, Trust
from wsasec.keys import plugin, strongswan
from wsasec.keys.carrier import KernelCarrier, MixedError, on_device
from wsasec.keys.reason import CharonError
from wsasec.keys.settings import strongswan_conf
from wsasec.profiles import DEFAULT

ANYBODY = Identity("a.example", Authentication.PSK, psk=Path("psk"))
DEVICE = replace(DEFAULT, carrier="device")


def profile(base: Any = DEVICE, **rest: Any) -> Any:
    return key_profile(ANYBODY, Trust(), base, **rest)


def test_one_carrier_for_all() -> None:
    other = another_profile("other", 1)
    assert not on_device(config(profile(DEFAULT), profile(other)))
    assert on_device(config(profile(), profile(replace(other, carrier="device"))))
    with pytest.raises(
        MixedError, match="'default' is carried by a device and profile 'other' by the kernel"
    ):
        on_device(config(profile(), profile(other)))


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ({"esp_proposals": ("aes256gcm16-esn", "aes256-sha256")}, "proposes aes256: a device has"),
        ({"esp_proposals": ("aes192gcm16",)}, "proposes aes192gcm16"),
        ({"esp_proposals": (), "ah_proposals": ("sha256",)}, "no AH"),
    ],
)
def test_what_a_device_has_not(rest: dict[str, Any], why: str) -> None:
    with pytest.raises(MixedError, match=why):
        on_device(config(profile(**rest)))


def test_what_a_device_has() -> None:
    proposals = ("aes128gcm16-ecp256", "aes256gcm16-x25519-noesn", "chacha20poly1305-esn-modp3072")
    assert on_device(config(profile(esp_proposals=proposals)))


def test_charon_of_others_has_no_plugin() -> None:
    with pytest.raises(MixedError, match="a charon of others"):
        on_device(config(profile(), vici="unix:///run/charon.vici"))


def test_kernel_needs_no_plugin() -> None:
    assert KernelCarrier().plugin is None
    assert KernelCarrier().sockets() == []


def test_settings_name_the_socket() -> None:
    kernel, engine = (
        strongswan_conf("/run/wsasec"),
        strongswan_conf("/run/wsasec", "/run/wsasec-engine/control"),
    )
    assert "kernel-wsasec" not in kernel
    assert "socket = /run/wsasec-engine/control\n" in engine
    load = next(line for line in engine.splitlines() if line.startswith("  load = ")).split()
    # The first that has the kernel's IPsec counts; charon does not come up without this one.
    assert load.index("kernel-wsasec!") < load.index("kernel-netlink")
    assert engine.count("{") == engine.count("}")
    assert "{" not in kernel.replace(" {\n", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / plugin.NAME
    made.write_bytes(b"")
    made.chmod(0o644)
    return made


def test_plugin_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin.find_plugin(file) == file.resolve()
    monkeypatch.setenv(plugin.ENVIRONMENT, str(file))
    assert plugin.find_plugin() == file.resolve()
    monkeypatch.delenv(plugin.ENVIRONMENT)
    monkeypatch.setattr(plugin, "_PLACES", (Path("/nowhere"), file.parent))
    assert plugin.find_plugin() == file.resolve()


def test_plugin_that_is_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CharonError, match="make charon-plugin"):
        plugin.find_plugin(file.with_name("other"))
    monkeypatch.delenv(plugin.ENVIRONMENT, raising=False)
    monkeypatch.setattr(
        plugin, "_PLACES", (file.with_name("empty"), *[file.with_name("a long name" * 10)] * 5)
    )
    # However many places there are: a text is cut.
    with pytest.raises(CharonError, match=f"make charon-plugin.* not in {file.with_name('empty')}"):
        plugin.find_plugin()


def test_plugin_that_others_may_replace(file: Path, tmp_path: Path) -> None:
    """By a link, or by another name for a folder; also where the plugin itself is root's."""
    folder = tmp_path / "open"
    within = folder / "within"
    within.mkdir(parents=True)
    path = file.rename(within / plugin.NAME)
    link = tmp_path / "link"
    link.symlink_to(path)
    folder.chmod(0o777)
    for each in (path, link):
        with pytest.raises(CharonError, match=f"can replace {plugin.NAME}: {folder} is theirs"):
            plugin.find_plugin(each)
    folder.chmod(0o1777)  # as /tmp: who owns a file there keeps it
    assert plugin.find_plugin(link) == path


def a_charon(folder: Path, says: str, code: int = 0) -> Path:
    path = folder / "charon"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{says}"\nexit {code}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("Linux strongSwan 5.9.8", "5.9.8"),
        ("Linux strongSwan U6.0.0beta2/K6.1.0", "6.0.0beta2"),
        ("00[LIB] abort initialization due to invalid configuration", None),
        ("", None),
    ],
)
def test_version_of_charon(tmp_path: Path, says: str, version: str | None) -> None:
    assert strongswan.version_of(a_charon(tmp_path, says)) == version
    assert strongswan.version_of(tmp_path / "none") is None


def test_plugin_of_another_strongswan(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out before charon has it; both are named, and what to do."""
    charon = a_charon(tmp_path, "Linux strongSwan 5.9.8")
    monkeypatch.setattr(strongswan, "_CHARON", (charon,))
    file.write_bytes(b"\x7fELF\0kernel-wsasec for strongSwan 5.9.8\0\xff")
    assert plugin.built_for(file) == "5.9.8"
    assert plugin.fitting_plugin(file) == file.resolve()
    a_charon(tmp_path, "Linux strongSwan 5.9.13")
    with pytest.raises(CharonError, match=r"for strongSwan 5\.9\.8, and 5\.9\.13 is installed: .*charon-"):
        plugin.fitting_plugin(file)
    a_charon(tmp_path, "nothing")
    assert plugin.fitting_plugin(file) == file.resolve()
    file.write_bytes(b"\x7fELF")
    assert plugin.built_for(file) is None
    with pytest.raises(CharonError, match=r"an unknown strongSwan.*make charon-plugin"):
        plugin.fitting_plugin(file)
    monkeypatch.setattr(strongswan, "_CHARON", (tmp_path / "none",))
    with pytest.raises(CharonError, match="apt-get install strongswan-charon"):
        plugin.fitting_plugin(file)


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_plugin_that_others_may_write(file: Path, mode: int) -> None:
    """root would have charon run it."""
    file.chmod(mode)
    with pytest.raises(CharonError, match="by others"):
        plugin.find_plugin(file)
    with pytest.raises(CharonError, match="no file"):
        plugin.find_plugin(file.parent)
