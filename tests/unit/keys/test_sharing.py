"""What is asked of a charon of others, held against what one might answer."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from ike_hosts import certified, key_profile

from wsasec.config.model import KeyProfile, Trust
from wsasec.kernel.policies import Policy, parse_policies
from wsasec.kernel.xfrm import NETLINK_XFRM
from wsasec.keys.abilities import require_abilities
from wsasec.keys.algorithms import require_algorithms
from wsasec.keys.groups import groups
from wsasec.keys.leftover import Leftover
from wsasec.keys.reason import DETAIL_BYTES, CharonError
from wsasec.keys.whose import require_ours

PLUGINS = [
    *("nonce", "openssl", "pem", "pkcs8", "x509", "pubkey", "revocation", "constraints"),
    *("kernel-netlink", "socket-default", "vici"),
]
ALGORITHMS = {
    "aead": ("AES_GCM_16", "CHACHA20_POLY1305"),
    "encryption": ("AES_CBC",),
    "integrity": ("HMAC_SHA1_96",),
    "prf": ("PRF_HMAC_SHA2_256", "PRF_HMAC_SHA2_384", "PRF_HMAC_SHA1"),
    "dh": ("ECP_384", "ECP_256", "CURVE_25519", "MODP_2048"),
}


class Answers:
    """A session whose charon has one answer to each request."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def request(self, command: str, _message: Mapping[str, Any] | None, _deadline: float) -> Any:
        return self._answers[command.replace("-", "_")]


def charon(plugins: list[str] = PLUGINS, threads: int = 16, version: str = "5.9.8") -> Any:
    return Answers(
        version={"version": version.encode()},
        stats={
            "workers": {"total": str(threads).encode()},
            "plugins": [plugin.encode() for plugin in plugins],
        },
    )


def soon() -> float:
    return time.monotonic() + 1


@pytest.mark.parametrize(("threads", "at_once"), [(10, 1), (16, 4), (64, 28), (200, 40)])
def test_threads_are_left_to_others(threads: int, at_once: int) -> None:
    assert require_abilities(charon(threads=threads), soon()) == at_once


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"threads": 9}, "it has 9 threads, and 10 are needed"),
        ({"version": "5.8.4"}, "its version is 5.8.4"),
        ({"version": "?"}, "its version is [?]"),
        ({"plugins": [*PLUGINS, "kernel-libipsec"]}, "kernel-libipsec keeps associations from the kernel"),
        ({"plugins": []}, "lacks the plugin kernel-netlink"),
        *(
            ({"plugins": [p for p in PLUGINS if p != lacking]}, f"lacks the plugin {lacking}")
            for lacking in ("kernel-netlink", "nonce", "pubkey", "pem", "revocation", "constraints")
        ),
        ({"plugins": [p for p in PLUGINS if p not in ("x509", "openssl")]}, "plugin x509 or openssl"),
        ({"plugins": [p for p in PLUGINS if p != "socket-default"]}, "socket-default or socket-dynamic"),
    ],
)
def test_what_it_lacks(answers: dict[str, Any], why: str) -> None:
    with pytest.raises(CharonError, match=why) as raised:
        require_abilities(charon(**answers), soon())
    assert len(raised.value.detail) < DETAIL_BYTES


@pytest.fixture
def profile(tmp_path: Path) -> KeyProfile:
    authority = Authority(tmp_path, "ca")
    identity = certified("a.example", authority.issue("a.example"))
    return key_profile(identity, Trust(ca=(authority.certificate,)))


def requires(profile: KeyProfile, without: str = "") -> None:
    there = {
        kind: {name: b"openssl" for name in names if name != without} for kind, names in ALGORITHMS.items()
    }
    session: Any = Answers(get_algorithms=there)
    require_algorithms(session, groups({profile.profile.name: profile}), soon())


@pytest.mark.parametrize(
    ("ike", "esp", "without", "word"),
    [
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-esn", "ECP_384", "ecp384"),
        ("aes256gcm16-prfsha384-ecp384-x25519", "aes256gcm16-esn", "CURVE_25519", "x25519"),
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-esn-modp2048", "MODP_2048", "modp2048"),
        ("aes256-sha1-ecp256", "null-sha1", "AES_CBC", "aes256"),
        ("aes256-sha1-ecp256", "null-sha1", "PRF_HMAC_SHA1", "prfsha1"),
    ],
)
def test_algorithms(profile: KeyProfile, ike: str, esp: str, without: str, word: str) -> None:
    """All that may be chosen must be there; what the kernel does alone need not."""

    wanted = replace(profile, ike_proposals=(ike,), esp_proposals=(esp,))
    requires(wanted)
    with pytest.raises(CharonError, match=f"no plugin for {word}, which profile 'default' proposes"):
        requires(wanted, without)


def test_default_proposals_need_no_more(profile: KeyProfile) -> None:
    requires(profile)


def policy(reqids: list[int], direction: int, priority: int, kind: int = 0x13) -> bytes:
    body = bytearray(168)
    struct.pack_into("=2I B", body, 152, priority, 7, direction)
    templates = b"".join(bytes(44) + struct.pack("=I", reqid) + bytes(16) for reqid in reqids)
    if templates:
        body += struct.pack("=HH", 4 + len(templates), 5) + templates
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + bytes(body)


def test_policies_are_read() -> None:
    data = (
        policy([5, 6], 1, 100)
        + policy([], 0, 0)
        + policy([8], 3, 0)
        + policy([9], 4, 0)
        + policy([7], 1, 1, 0x10)
    )
    assert parse_policies(data) == [Policy((5, 6), 1, 100), Policy((), 0, 0)]
    assert parse_policies(data[:100]) == []


def test_keys_that_are_left(tmp_path: Path) -> None:
    left = Leftover(tmp_path / "left")
    assert left.read(7) == set()
    left.write(7, {"ab", "cd"})
    assert (tmp_path / "left").stat().st_mode & 0o777 == 0o600
    assert Leftover(tmp_path / "left").read(7) == {"ab", "cd"}
    assert left.read(8) == set()
    (tmp_path / "left").write_text('{"charon": 7}')
    assert left.read(7) == set()
    left.write(7, set())
    left.forget()
    assert not (tmp_path / "left").exists()


class Listener:
    """A session with somebody."""

    def __init__(self, pid: int, uid: int) -> None:
        self.listener = lambda: (pid, uid)


def test_who_listens() -> None:
    stranger: Any = Listener(os.getpid(), os.geteuid() + 1000)
    with pytest.raises(CharonError, match="and not root's charon"):
        require_ours(stranger)
    ours: Any = Listener(os.getpid(), 0)
    with pytest.raises(CharonError, match="no associations in this network namespace"):
        require_ours(ours)
    elsewhere: Any = Listener(0, 0)
    with pytest.raises(CharonError, match="no associations in this network namespace"):
        require_ours(elsewhere)
    # The first of a kind that a process opens has its number.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as xfrm:
        xfrm.bind((os.getpid(), 0))
        require_ours(ours)
